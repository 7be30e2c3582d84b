"""Data of files: holes, fallocate(2), lseek(2) with SEEK_DATA and SEEK_HOLE, copy_file_range(2), limits, appends, mapped memory."""
import mmap
import os
import resource
import signal

from calls import fallocate
from suite import case, equal, fails, read, tick, true

KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 1, 2, 8, 16, 32
CHUNK = 4 << 20
TEBI = 1 << 40


def opened(place, content=b"", flags=os.O_RDWR):
    return os.open(place.file("file", content), flags)


def size_of(descriptor):
    return os.fstat(descriptor).st_size


@case
def hole_reads_zeros(place):
    """What lies between the end and a write behind it reads as zeros, and takes no space."""
    file = opened(place, b"begin")
    os.pwrite(file, b"end", 100 << 30)
    equal(size_of(file), (100 << 30) + 3, "size")
    equal(os.pread(file, 10, 0), b"begin\0\0\0\0\0")
    equal(os.pread(file, 4096, 50 << 30), bytes(4096))
    equal(os.pread(file, 100, (100 << 30) - 2), b"\0\0end")
    true(os.fstat(file).st_blocks * 512 < 64 << 20, "100 GB of holes take next to nothing")


@case
def large_offsets(place):
    """A file of nearly 16 TiB."""
    # ext4 ends at 16 TiB less one block.
    file = opened(place)
    end = 16 * TEBI - (1 << 20)
    os.pwrite(file, b"last", end - 4)
    equal(size_of(file), end, "size")
    equal(os.pread(file, 10, end - 6), b"\0\0last")
    os.ftruncate(file, 1)
    equal(os.pread(file, 10, 0), b"\0")


@case
def allocate_moves_the_end(place):
    """fallocate without flags lets the file grow, and what is there stays."""
    file = opened(place, b"abc")
    fallocate(file, 0, 0, 10_000)
    equal(size_of(file), 10_000, "size")
    fallocate(file, 0, 10, 5)
    equal(size_of(file), 10_000, "size")
    equal(os.pread(file, 5, 0), b"abc\0\0")
    os.posix_fallocate(file, 20_000, 1)
    equal(size_of(file), 20_001, "size")


@case
def allocate_keeps_the_size(place):
    """FALLOC_FL_KEEP_SIZE."""
    file = opened(place, b"abc")
    fallocate(file, KEEP_SIZE, 0, 1 << 20)
    equal(size_of(file), 3, "size")


@case
def allocate_sets_times(place):
    """mtime and ctime, also where there is nothing to do: within the file, behind its end with KEEP_SIZE, in a hole."""
    for mode, offset in ((0, 0), (KEEP_SIZE, 0), (KEEP_SIZE, 1 << 20), (PUNCH_HOLE | KEEP_SIZE, 1 << 20), (0, 1000)):
        file = opened(place, b"x" * 100)
        os.utime(place / "file", (1, 1))
        before = os.fstat(file)
        tick()
        fallocate(file, mode, offset, 10)
        after = os.fstat(file)
        true(after.st_mtime_ns > before.st_mtime_ns and after.st_ctime_ns > before.st_ctime_ns, f"times, {mode} {offset}")
        os.close(file)


@case
def allocate_errors(place):
    """EINVAL for no length, EBADF for a file that is open for reading, EFBIG, ESPIPE and ENODEV for what is no file."""
    file = opened(place, b"abc")
    fails("EINVAL", fallocate, file, 0, 0, 0)
    fails("EINVAL", fallocate, file, 0, -1, 1)
    fails("EFBIG", fallocate, file, 0, (1 << 63) - 2, 2)
    fails("EBADF", fallocate, os.open(place / "file", os.O_RDONLY), 0, 0, 1)
    fails(("ENODEV", "EBADF", "EISDIR"), fallocate, os.open(place.path, os.O_RDONLY), 0, 0, 1)
    fails("EOPNOTSUPP", fallocate, file, PUNCH_HOLE, 0, 1)


@case
def collapse_and_insert(place):
    """FALLOC_FL_COLLAPSE_RANGE and FALLOC_FL_INSERT_RANGE: done, or refused so that a program copies instead."""
    file = opened(place, bytes(64 << 10))
    for mode in (COLLAPSE_RANGE, INSERT_RANGE):
        try:
            fallocate(file, mode, 4096, 4096)
        except OSError as error:
            true(error.errno == 95, f"{error} is not EOPNOTSUPP")


@case
def punch_within_a_block(place):
    """FALLOC_FL_PUNCH_HOLE of some bytes leaves those beside them, and the size."""
    file = opened(place, b"x" * 10_000)
    fallocate(file, PUNCH_HOLE | KEEP_SIZE, 5, 10)
    equal(os.pread(file, 20, 0), b"x" * 5 + bytes(10) + b"x" * 5)
    fallocate(file, PUNCH_HOLE | KEEP_SIZE, 9_990, 1 << 40)
    equal(size_of(file), 10_000, "size")
    equal(os.pread(file, 100, 9_985), b"x" * 5 + bytes(10))
    fallocate(file, PUNCH_HOLE | KEEP_SIZE, 20_000, 10)
    equal(size_of(file), 10_000, "size")


@case
def punch_gives_space_back(place):
    """Of a large hole the blocks are free; what lies around it stays."""
    file = opened(place, b"x" * (4 * CHUNK))
    os.fsync(file)
    before = os.fstat(file).st_blocks
    fallocate(file, PUNCH_HOLE | KEEP_SIZE, CHUNK - 100, 2 * CHUNK + 200)
    os.fsync(file)
    true(os.fstat(file).st_blocks <= before - 2 * CHUNK // 512, "blocks are given back")
    content = read(place / "file")
    true(content == b"x" * (CHUNK - 100) + bytes(2 * CHUNK + 200) + b"x" * (CHUNK - 100), "around the hole")


@case
def punch_sets_times(place):
    """mtime and ctime."""
    file = opened(place, b"x" * 100)
    os.utime(place / "file", (1, 1))
    before = os.fstat(file)
    fallocate(file, PUNCH_HOLE | KEEP_SIZE, 0, 10)
    after = os.fstat(file)
    true(after.st_mtime_ns > before.st_mtime_ns and after.st_ctime_ns >= before.st_ctime_ns, "times")


@case
def zero_range(place):
    """FALLOC_FL_ZERO_RANGE, with and without KEEP_SIZE."""
    place.needs(place.kind != "tmpfs", "tmpfs has none")
    file = opened(place, b"x" * 10_000)
    fallocate(file, ZERO_RANGE, 9_000, 5_000)
    equal(size_of(file), 14_000, "size")
    fallocate(file, ZERO_RANGE | KEEP_SIZE, 13_000, 5_000)
    equal(size_of(file), 14_000, "size")
    equal(os.pread(file, 20_000, 8_998), b"xx" + bytes(5_000))


@case
def mapped_memory_sees_a_punch(place):
    """Pages that are mapped become zeros, too."""
    place.needs_shared_memory()
    file = opened(place, b"x" * 16_384)
    with mmap.mmap(file, 16_384) as memory:
        equal(memory[4096:4098], b"xx")
        fallocate(file, PUNCH_HOLE | KEEP_SIZE, 4096, 4096)
        equal(memory[4095:4098], b"x\0\0")
        memory[4096:4098] = b"yy"
        memory.flush()
    equal(os.pread(file, 4, 4095), b"xyy\0")


@case
def seek_finds_data(place):
    """SEEK_DATA and SEEK_HOLE: nothing between a hole and the next data is other than zeros. ENXIO behind the end."""
    file = opened(place)
    os.pwrite(file, b"one", 3 * CHUNK + 5)
    os.pwrite(file, b"two", 9 * CHUNK + 5)
    os.ftruncate(file, 20 * CHUNK)
    first = os.lseek(file, 0, os.SEEK_DATA)
    true(first <= 3 * CHUNK + 5, f"data was found at {first}")
    hole = os.lseek(file, 3 * CHUNK + 5, os.SEEK_HOLE)
    true(hole >= 3 * CHUNK + 8, f"a hole was found at {hole}")
    second = os.lseek(file, 3 * CHUNK + 8, os.SEEK_DATA)
    true(second <= 9 * CHUNK + 5, f"data was found at {second}")
    equal(os.lseek(file, 20 * CHUNK - 1, os.SEEK_HOLE), 20 * CHUNK - 1)
    fails("ENXIO", os.lseek, file, 20 * CHUNK, os.SEEK_DATA)
    fails("ENXIO", os.lseek, file, 20 * CHUNK, os.SEEK_HOLE)
    fails(("ENXIO", "EINVAL"), os.lseek, file, -1, os.SEEK_HOLE)


@case
def seek_finds_small_holes(place):
    """Holes of single blocks between others that were written, before and after they are on the disk."""
    file = opened(place, b"x" * 4096)
    os.pwrite(file, b"y" * 4096, 5 * 4096)
    os.ftruncate(file, 12 * 4096)
    for _ in range(2):
        equal(os.lseek(file, 0, os.SEEK_HOLE), 4096)
        equal(os.lseek(file, 4096, os.SEEK_DATA), 5 * 4096)
        equal(os.lseek(file, 5 * 4096 + 7, os.SEEK_HOLE), 6 * 4096)
        fails("ENXIO", os.lseek, file, 6 * 4096, os.SEEK_DATA)
        os.fsync(file)


@case
def small_holes_show_in_blocks(place):
    """A file with holes takes less than its size, by which cp(1) and tar(1) know it; one without takes all of it."""
    file = opened(place, b"x" * 40_960)
    os.fsync(file)
    true(os.fstat(file).st_blocks * 512 >= 40_960, "a file without holes")
    fallocate(file, PUNCH_HOLE | KEEP_SIZE, 4096, 8192)
    os.fsync(file)
    true(0 < os.fstat(file).st_blocks * 512 < 40_960, "after a punch")
    equal(os.lseek(file, 0, os.SEEK_HOLE), 4096)
    equal(os.lseek(file, 4096, os.SEEK_DATA), 12_288)
    other = os.open(place / "other", os.O_RDWR | os.O_CREAT)
    os.pwrite(other, b"y" * 4096, 20_480)
    os.fsync(other)
    true(0 < os.fstat(other).st_blocks * 512 < 24_576, "a hole in front")
    os.ftruncate(file, 0)
    os.pwrite(file, b"z" * 8192, 0)
    os.ftruncate(file, 40_960)
    true(0 < os.fstat(file).st_blocks * 512 < 40_960, "a hole behind")


@case
def seek_ends_at_the_end(place):
    """There is a hole at the end of each file."""
    file = opened(place, b"x" * 100)
    equal(os.lseek(file, 7, os.SEEK_DATA), 7)
    equal(os.lseek(file, 7, os.SEEK_HOLE), 100)


@case
def copy_within_and_between(place):
    """copy_file_range: to another file, behind its end, and within one."""
    file = opened(place, b"0123456789" * 500_000)
    other = os.open(place / "other", os.O_RDWR | os.O_CREAT)
    equal(os.copy_file_range(file, other, 100, 5, 10), 100)
    equal(os.pread(other, 200, 0), bytes(10) + (b"5678901234" * 10))
    equal(os.copy_file_range(file, file, 5, 0, 5), 5)
    equal(os.pread(file, 20, 0), b"0123401234" + b"0123456789")
    equal(os.copy_file_range(file, other, 100, 5_000_000 - 7), 7)
    equal(os.copy_file_range(file, other, 100, 5_000_000), 0)


@case
def copy_is_a_copy(place):
    """What is written to one of both afterwards isn't seen in the other, whatever they share."""
    content = os.urandom(1 << 20) * 9 + b"end"
    file = opened(place, content)
    other = os.open(place / "other", os.O_RDWR | os.O_CREAT)
    done = 0
    while done < len(content):
        count = os.copy_file_range(file, other, len(content) - done, done, done)
        true(count > 0, "the copy goes on to the end")
        done += count
    true(read(place / "other") == content, "the copy")
    os.pwrite(file, b"changed", 5_000_000)
    os.pwrite(other, b"different", 1_000_000)
    os.ftruncate(file, 6_000_000)
    true(read(place / "other") == content[:1_000_000] + b"different" + content[1_000_009:], "the copy, changed")
    true(read(place / "file") == (content[:5_000_000] + b"changed" + content[5_000_007:])[:6_000_000], "the original")
    os.unlink(place / "file")
    os.close(file)
    os.fsync(other)
    true(read(place / "other") == content[:1_000_000] + b"different" + content[1_000_009:], "without the original")


@case
def copy_errors(place):
    """EBADF for wrong modes and for O_APPEND, EINVAL for flags and for what overlaps, EISDIR."""
    file = opened(place, b"x" * 100)
    reading = os.open(place / "file", os.O_RDONLY)
    fails("EBADF", os.copy_file_range, file, reading, 10, 0, 50)
    appending = os.open(place / "file", os.O_WRONLY | os.O_APPEND)
    fails("EBADF", os.copy_file_range, file, appending, 10, 0)
    fails("EINVAL", os.copy_file_range, file, file, 10, 0, 5)
    fails(("EISDIR", "EBADF"), os.copy_file_range, os.open(place.path, os.O_RDONLY), file, 10)


@case
def limit_of_file_size(place):
    """RLIMIT_FSIZE: a write is short at it, EFBIG and SIGXFSZ behind it."""
    file = opened(place)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    equal(os.pwrite(file, b"x" * 100, 9_950), 50)
    fails("EFBIG", os.pwrite, file, b"x", 10_000)
    fails("EFBIG", os.ftruncate, file, 10_001)
    fails("EFBIG", fallocate, file, 0, 0, 10_001)
    equal(size_of(file), 10_000, "size")


@case
def appends_are_whole(place):
    """Processes that append at the same time lose nothing, and mix nothing."""
    path = place.file("file")
    children = []
    for letter in b"abcd":
        child = os.fork()
        if child == 0:
            file = os.open(path, os.O_WRONLY | os.O_APPEND)
            for _ in range(50):
                os.write(file, bytes([letter]) * 999 + b"\n")
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    lines = read(path).split(b"\n")
    equal(len(lines), 201, "lines")
    true(all(len(line) == 999 and len(set(line)) == 1 for line in lines[:-1]), "every line is one process's")


@case
def private_mapping(place):
    """MAP_PRIVATE: what is written to memory stays there."""
    file = opened(place, b"x" * 8192)
    with mmap.mmap(file, 8192, mmap.MAP_PRIVATE) as memory:
        memory[0:3] = b"abc"
        equal(os.pread(file, 3, 0), b"xxx")
        equal(memory[0:4], b"abcx")
    equal(read(place / "file"), b"x" * 8192)


@case
def shared_mapping(place):
    """MAP_SHARED: seen by read after msync, and by another mapping at once; bytes behind the end are zeros."""
    place.needs_shared_memory()
    file = opened(place, b"x" * 5000)
    with mmap.mmap(file, 5000) as memory, mmap.mmap(os.open(place / "file", os.O_RDWR), 5000) as other:
        memory[4990:5000] = b"0123456789"
        equal(other[4990:5000], b"0123456789")
        memory.flush()
    equal(os.pread(file, 100, 4995), b"56789")
    os.ftruncate(file, 5010)
    equal(os.pread(file, 100, 4995), b"56789" + bytes(10))


@case
def direct(place):
    """O_DIRECT, with aligned memory."""
    path = place.file("file")
    try:
        file = os.open(path, os.O_RDWR | os.O_DIRECT)
    except OSError as error:
        place.needs(error.errno != 22, "this file system has no O_DIRECT")
        raise
    memory = mmap.mmap(-1, 16_384)
    memory[:] = b"d" * 16_384
    equal(os.pwritev(file, [memory], 4096), 16_384)
    equal(os.preadv(file, [memory], 0), 16_384)
    equal(memory[4090:4100], bytes(6) + b"dddd")
    equal(read(path)[4094:4098], b"\0\0dd")
