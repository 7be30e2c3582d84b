"""
Random operations on the data of one file, through one or more mounts, against a copy in memory (in the manner of fsx).

    python3 fsx.py OPERATIONS|SECONDSs SEED EVERY DIRECTORY...

Every directory shows the same one. About every so many operations one of them is mounted anew: it prints `unmount NUMBER`, or
`kill NUMBER` after an fsync, and goes on when it gets a line. Prints the operations that led to a difference, and ends with 1.
"""
import ctypes
import errno
import mmap
import os
import random
import sys
import time

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
CHUNK = 4 * 1024 * 1024
SIZE_MAX = 3 * CHUNK
PAGE = 4096

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


class Difference(Exception):
    pass


class Fsx:
    def __init__(self, seed, paths, remount_chance):
        self.random = random.Random(seed)
        self.remount_chance = remount_chance
        self.paths = paths
        os.close(os.open(paths[0], os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644))
        self.files = [os.open(path, os.O_RDWR) for path in paths]
        self.bytes = bytearray()
        self.history = []

    def step(self):
        kind = self.random.choice(
            [self.write, self.write, self.append, self.read, self.read, self.truncate, self.punch, self.zero]
            + [self.extend, self.reserve, self.stat, self.seek, self.map_read, self.map_write, self.reopen]
            + [self.copy, self.copy_away]
        )
        if self.random.random() < self.remount_chance:
            kind = self.random.choice([self.unmount, self.kill])
        mount = self.random.randrange(len(self.files))
        offset, length = self.place(), self.length()
        self.history.append(f"{kind.__name__} mount={mount} offset={offset} length={length}")
        kind(mount, offset, length)

    def place(self):
        """Often near where something changes: the start, chunks, blocks."""
        near = CHUNK * self.random.randrange(3) + self.random.randrange(-5000, 5000)
        choices = [self.random.randrange(20_000), near, self.random.randrange(SIZE_MAX), PAGE * self.random.randrange(3000)]
        return max(0, self.random.choice(choices))

    def length(self):
        most = self.random.choice([100, 5_000, 70_000, 300_000, 6 * 1024 * 1024])
        return self.random.randrange(1, most)

    def data(self, length):
        return (os.urandom(64) * (length // 64 + 1))[:length]

    def set(self, offset, data):
        if len(self.bytes) < offset:
            self.bytes.extend(bytes(offset - len(self.bytes)))
        self.bytes[offset : offset + len(data)] = data

    def same(self, got, expected, what):
        if got != expected:
            raise Difference(f"{what}: got {str(got)[:60]}, expected {str(expected)[:60]}")

    def write(self, mount, offset, length):
        data = self.data(min(length, 300_000))
        self.same(os.pwrite(self.files[mount], data, offset), len(data), "bytes written")
        self.set(offset, data)

    def append(self, mount, _offset, length):
        data = self.data(min(length, 70_000))
        if len(self.bytes) > 2 * SIZE_MAX:
            return
        file = os.open(self.paths[mount], os.O_WRONLY | os.O_APPEND)
        self.same(os.write(file, data), len(data), "bytes appended")
        os.close(file)
        self.set(len(self.bytes), data)

    def read(self, mount, offset, length):
        self.same(os.pread(self.files[mount], length, offset), bytes(self.bytes[offset : offset + length]), "data")

    def truncate(self, mount, offset, _length):
        os.ftruncate(self.files[mount], offset)
        self.set(offset, b"")
        del self.bytes[offset:]

    def fallocate(self, mount, mode, offset, length):
        if libc.fallocate(self.files[mount], mode, offset, length) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), f"fallocate {mode}")

    def zeros(self, offset, length):
        end = min(offset + length, len(self.bytes))
        if end > offset:
            self.bytes[offset:end] = bytes(end - offset)

    def punch(self, mount, offset, length):
        self.fallocate(mount, PUNCH_HOLE | KEEP_SIZE, offset, length)
        self.zeros(offset, length)

    def zero(self, mount, offset, length):
        self.fallocate(mount, ZERO_RANGE, offset, length)
        self.zeros(offset, length)
        if len(self.bytes) < offset + length:
            self.set(offset + length, b"")

    def extend(self, mount, offset, length):
        self.fallocate(mount, 0, offset, length)
        if len(self.bytes) < offset + length:
            self.set(offset + length, b"")

    def reserve(self, mount, offset, length):
        self.fallocate(mount, KEEP_SIZE, offset, length)

    def stat(self, mount, _offset, _length):
        self.same(os.fstat(self.files[mount]).st_size, len(self.bytes), "size")

    def seek(self, mount, offset, _length):
        hole = self.sought(mount, offset, os.SEEK_HOLE)
        self.same(hole is None, offset >= len(self.bytes), "no hole")
        data = self.sought(mount, offset, os.SEEK_DATA)
        if any(self.bytes[offset:data]):
            raise Difference(f"SEEK_DATA from {offset} leaves data out: {data}")

    def sought(self, mount, offset, whence):
        try:
            found = os.lseek(self.files[mount], offset, whence)
        except OSError as error:
            self.same(error.errno, errno.ENXIO, "errno of lseek")
            return None
        if found < offset:
            raise Difference(f"lseek {whence} from {offset} goes back to {found}")
        return found

    def mapped(self, mount, offset, length, access):
        """The range within the file, in a mapping of its pages; None behind the end."""
        end = min(offset + length, len(self.bytes))
        if end <= offset:
            return None
        start = offset // PAGE * PAGE
        return mmap.mmap(self.files[mount], end - start, access=access, offset=start), offset - start, end - start

    def map_read(self, mount, offset, length):
        mapping = self.mapped(mount, offset, min(length, 70_000), mmap.ACCESS_READ)
        if mapping is None:
            return
        memory, start, end = mapping
        self.same(memory[start:end], bytes(self.bytes[offset : offset + end - start]), "mapped data")
        memory.close()

    def map_write(self, mount, offset, length):
        mapping = self.mapped(mount, offset, min(length, 70_000), mmap.ACCESS_WRITE)
        if mapping is None:
            return
        memory, start, end = mapping
        data = self.data(end - start)
        memory[start:end] = data
        memory.flush()
        memory.close()
        self.set(offset, data)

    def copied(self, source, target, offset, to, length):
        os.fstat(source)  # the kernel ends a copy at the size that it knows
        done = 0
        while done < length:
            count = os.copy_file_range(source, target, length - done, offset + done, to + done)
            self.same(count > 0, True, f"copy_file_range went on after {done}")
            done += count

    def copy(self, mount, offset, length):
        length = min(length, len(self.bytes) - offset)
        to = self.place()
        if length > 0 and abs(to - offset) >= length:
            self.history[-1] += f" to={to}"
            self.copied(self.files[mount], self.files[mount], offset, to, length)
            self.set(to, bytes(self.bytes[offset : offset + length]))

    def copy_away(self, mount, offset, length):
        """All of it to another file, and a part back that was changed in between."""
        length = min(length, len(self.bytes) - offset)
        if length <= 0:
            return
        other = os.open(self.paths[mount] + ".other", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self.copied(self.files[mount], other, 0, 0, len(self.bytes))
        self.same(os.pwrite(self.files[mount], bytes(min(length, 300_000)), offset), min(length, 300_000), "bytes written")
        self.copied(other, self.files[mount], offset, offset, length)
        os.close(other)

    def reopen(self, mount, _offset, _length):
        os.close(self.files[mount])
        self.files[mount] = os.open(self.paths[mount], os.O_RDWR)

    def unmount(self, mount, _offset, _length):
        self.remount(mount, "unmount")

    def kill(self, mount, _offset, _length):
        os.fsync(self.files[mount])
        self.remount(mount, "kill")

    def remount(self, mount, way):
        os.close(self.files[mount])
        print(way, mount, flush=True)
        sys.stdin.readline()
        self.files[mount] = os.open(self.paths[mount], os.O_RDWR)
        self.stat(mount, 0, 0)

    def finish(self):
        for mount, file in enumerate(self.files):
            os.fsync(file)
            self.read(mount, 0, len(self.bytes) + 1)
        for file in self.files:
            os.close(file)


def main():
    duration, seed, every, *directories = sys.argv[1:]
    end = time.monotonic() + int(duration[:-1]) if duration.endswith("s") else None
    fsx = Fsx(int(seed), [os.path.join(directory, f"fsx-{seed}") for directory in directories], 1 / int(every))
    operations = 0
    try:
        while time.monotonic() < end if end is not None else operations < int(duration):
            fsx.step()
            operations += 1
        fsx.history.append("finish")
        fsx.finish()
    except (Difference, OSError) as error:
        print("\n".join(fsx.history[-15:]))
        print(f"{error}\nagain: python3 test/system/fsx.py {' '.join(sys.argv[1:])}")
        sys.exit(1)
    print(f"{operations} operations")


main()
