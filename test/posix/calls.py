"""System calls that Python's os module lacks. Each raises OSError as those there do."""
import ctypes
import os
import platform
import struct

libc = ctypes.CDLL(None, use_errno=True)

AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
AT_STATX_FORCE_SYNC = 0x2000
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
STATX_BASIC_STATS, STATX_BTIME = 0x7FF, 0x800
O_TMPFILE = 0o20000000 | os.O_DIRECTORY
O_PATH = os.O_PATH
MAX_HANDLE_BYTES = 128
RESOLVE_NO_XDEV, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_CACHED = 1, 4, 8, 16, 32
"""The same number everywhere."""
OPENAT2 = 437
OPEN_BY_HANDLE_AT = {"x86_64": 304, "aarch64": 265}.get(platform.machine())


def checked(result, what=""):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def renameat2(old, new, flags, old_directory=AT_FDCWD, new_directory=AT_FDCWD):
    checked(libc.renameat2(old_directory, os.fsencode(old), new_directory, os.fsencode(new), flags), old)


def linkat(old_directory, old, new_directory, new, flags):
    checked(libc.linkat(old_directory, os.fsencode(old), new_directory, os.fsencode(new), flags), new)


def openat2(path, flags, resolve, directory=AT_FDCWD, mode=0):
    """Linux 5.6. Tried again where the man page says so: a rename or a mount anywhere makes `..` unsure for a moment."""
    how = struct.pack("QQQ", flags, mode, resolve)
    for tries in range(1000):
        try:
            return checked(libc.syscall(OPENAT2, directory, os.fsencode(path), how, ctypes.c_size_t(len(how))), path)
        except BlockingIOError:
            if resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT) == 0 or tries == 999:
                raise


def link_open(descriptor, path):
    """A name for an open file, by its entry in /proc: works without CAP_DAC_READ_SEARCH."""
    linkat(AT_FDCWD, f"/proc/self/fd/{descriptor}", AT_FDCWD, path, AT_SYMLINK_FOLLOW)


def utimensat(path, atime, mtime, flags=0, directory=AT_FDCWD):
    """Each time is (seconds, nanoseconds)."""
    times = struct.pack("qqqq", *atime, *mtime)
    checked(libc.utimensat(directory, os.fsencode(path), times, flags), path)


def statx(path, mask=STATX_BASIC_STATS | STATX_BTIME, flags=0):
    buffer = ctypes.create_string_buffer(256)
    checked(libc.statx(AT_FDCWD, os.fsencode(path), flags, mask, buffer), path)
    time = lambda at: (lambda pair: pair[0] * 10**9 + pair[1])(struct.unpack_from("qI", buffer, at))
    return {
        "mask": struct.unpack_from("I", buffer, 0)[0],
        "links": struct.unpack_from("I", buffer, 16)[0],
        "mode": struct.unpack_from("H", buffer, 28)[0],
        "size": struct.unpack_from("Q", buffer, 40)[0],
        "atime_ns": time(64),
        "btime_ns": time(80),
        "ctime_ns": time(96),
        "mtime_ns": time(112),
    }


def name_to_handle_at(path, flags=0):
    """Returns (handle, mount id)."""
    buffer = ctypes.create_string_buffer(8 + MAX_HANDLE_BYTES)
    struct.pack_into("I", buffer, 0, MAX_HANDLE_BYTES)
    mount = ctypes.c_int()
    checked(libc.name_to_handle_at(AT_FDCWD, os.fsencode(path), buffer, ctypes.byref(mount), flags), path)
    length = struct.unpack_from("I", buffer, 0)[0]
    return buffer.raw[: 8 + length], mount.value


def open_by_handle_at(mount_descriptor, handle, flags):
    return checked(libc.open_by_handle_at(mount_descriptor, handle, flags))


def fallocate(descriptor, mode, offset, length):
    checked(libc.fallocate(descriptor, mode, ctypes.c_longlong(offset), ctypes.c_longlong(length)))


libc.opendir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long


class Stream:
    """A directory stream: opendir(3), readdir(3), telldir(3), seekdir(3), rewinddir(3)."""

    def __init__(self, path):
        self.stream = libc.opendir(os.fsencode(path))
        if not self.stream:
            checked(-1, path)

    def next(self):
        """(name, inode, d_type), or None at the end."""
        libc.readdir.restype = ctypes.c_void_p
        ctypes.set_errno(0)
        entry = libc.readdir(ctypes.c_void_p(self.stream))
        if not entry:
            if ctypes.get_errno() != 0:
                checked(-1)
            return None
        head = ctypes.string_at(entry, 19)
        inode, _offset, _length, kind = struct.unpack("QqHB", head)
        return os.fsdecode(ctypes.string_at(entry + 19)), inode, kind

    def rest(self):
        names = []
        while (entry := self.next()) is not None:
            if entry[0] not in (".", ".."):
                names.append(entry[0])
        return names

    def tell(self):
        return libc.telldir(ctypes.c_void_p(self.stream))

    def seek(self, position):
        libc.seekdir(ctypes.c_void_p(self.stream), ctypes.c_long(position))

    def rewind(self):
        libc.rewinddir(ctypes.c_void_p(self.stream))

    def close(self):
        libc.closedir(ctypes.c_void_p(self.stream))
