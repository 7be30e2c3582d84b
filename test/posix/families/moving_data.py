"""Data that the kernel moves by itself: sendfile(2), splice(2); and the flags of preadv2(2) and pwritev2(2), hints, ranges."""
import ctypes
import errno
import mmap
import os

from calls import checked, libc
from suite import case, equal, fails, read, true

NO_SUPPORT = "EOPNOTSUPP"


def supported(place, call, *values):
    try:
        return call(*values)
    except OSError as error:
        place.needs(error.errno != errno.EOPNOTSUPP, "not supported here")
        raise


@case
def sending(place):
    """sendfile: to a file and from an offset, short at the end; what was changed since is what it sends"""
    content = bytes(range(256)) * 1000
    source = os.open(place.file("source", content), os.O_RDWR)
    target = os.open(place / "target", os.O_RDWR | os.O_CREAT)
    sent = 0
    while moved := os.sendfile(target, source, sent, len(content)):
        sent += moved
    equal((sent, read(place / "target")), (len(content), content))
    equal(os.sendfile(target, source, len(content) - 3, 100), 3)
    equal(os.sendfile(target, source, len(content), 100), 0)
    os.pwrite(source, b"changed", 100)
    os.ftruncate(source, 50_000)
    os.ftruncate(source, 60_000)
    again = os.open(place / "again", os.O_RDWR | os.O_CREAT)
    sent = 0
    while moved := os.sendfile(again, source, sent, 1 << 20):
        sent += moved
    equal(read(place / "again"), content[:100] + b"changed" + content[107:50_000] + bytes(10_000))


@case
def splicing(place):
    """splice: from and to a pipe, at the place of the descriptor or at an offset; EBADF, EINVAL for O_APPEND"""
    path = place.file("f", b"0123456789")
    file = os.open(path, os.O_RDWR)
    reader, writer = os.pipe()
    equal(os.splice(file, writer, 4), 4)
    equal((os.read(reader, 10), os.lseek(file, 0, os.SEEK_CUR)), (b"0123", 4))
    equal(os.splice(file, writer, 100, offset_src=8), 2)
    equal(os.read(reader, 10), b"89")
    equal(os.splice(file, writer, 100, offset_src=10), 0)
    os.write(writer, b"abc")
    equal(os.splice(reader, file, 3, offset_dst=9), 3)
    equal(read(path), b"012345678abc")
    os.write(writer, b"abc")
    fails("EINVAL", os.splice, reader, os.open(path, os.O_WRONLY | os.O_APPEND), 3)
    fails("EBADF", os.splice, reader, os.open(path, os.O_RDONLY), 3)
    fails("EBADF", os.splice, os.open(path, os.O_WRONLY), writer, 3)


@case
def own_memory(place):
    """A file is read into its own mapped memory and written from it, touched before or not"""
    place.needs_shared_memory()
    path = place.file("f", b"abcdefgh" * 2048)
    file = os.open(path, os.O_RDWR)
    memory = mmap.mmap(file, 16_384)
    equal(os.preadv(file, [memoryview(memory)[0:4]], 4100), 4)
    equal(memory[0:8], b"efghefgh")
    equal(os.pwrite(file, memoryview(memory)[8192:12_288], 4090), 4096)
    equal(os.pread(file, 16, 4088), b"ab" + b"abcdefgh" + b"abcdef")
    equal(os.pwrite(file, memoryview(memory)[0:4], 4), 4)
    memory.flush()
    equal(read(path)[:8], b"efghefgh")


@case
def append_flag(place):
    """RWF_APPEND writes at the end, wherever the offset is, and leaves the descriptor's place alone"""
    path = place.file("f", b"abc")
    file = os.open(path, os.O_RDWR)
    equal(supported(place, os.pwritev, file, [b"d"], 0, os.RWF_APPEND), 1)
    other = os.open(path, os.O_WRONLY)
    os.pwrite(other, b"ef", 4)
    os.pwritev(file, [b"g"], 1, os.RWF_APPEND)
    equal((read(path), os.lseek(file, 0, os.SEEK_CUR)), (b"abcdefg", 0))


@case
def durable_flags(place):
    """RWF_SYNC, RWF_DSYNC and RWF_HIPRI are taken; flags that nobody knows are not"""
    file = os.open(place.file("f", b"abc"), os.O_RDWR)
    for flags in (os.RWF_SYNC, os.RWF_DSYNC, os.RWF_SYNC | os.RWF_DSYNC, os.RWF_HIPRI):
        equal(os.pwritev(file, [b"d"], 0, flags), 1)
    buffer = bytearray(3)
    equal(os.preadv(file, [buffer], 0, os.RWF_HIPRI), 3)
    equal(bytes(buffer), b"dbc")
    fails(NO_SUPPORT, os.preadv, file, [buffer], 0, 1 << 30)


@case
def not_waiting(place):
    """RWF_NOWAIT: done, EAGAIN, or refused so that a program asks without it"""
    file = os.open(place.file("f", b"abc"), os.O_RDWR)
    for call in (
        lambda: os.preadv(file, [bytearray(3)], 0, os.RWF_NOWAIT),
        lambda: os.pwritev(file, [b"abc"], 0, os.RWF_NOWAIT),
    ):
        try:
            equal(call(), 3)
        except OSError as error:
            true(error.errno in (errno.EAGAIN, errno.EOPNOTSUPP), errno.errorcode[error.errno])
    equal(read(place / "f"), b"abc")


@case
def hints(place):
    """posix_fadvise, readahead, sync_file_range, syncfs: taken, and nothing changes; EINVAL, EBADF, ESPIPE"""
    content = b"hint" * 5000
    path = place.file("f", content)
    file = os.open(path, os.O_RDWR)
    for advice in range(6):
        os.posix_fadvise(file, 0, 0, advice)
        equal(read(path), content)
    fails("EINVAL", os.posix_fadvise, file, 0, 0, 99)
    fails("ESPIPE", os.posix_fadvise, os.pipe()[0], 0, 0, 0)
    checked(libc.readahead(file, ctypes.c_longlong(0), 20_000))
    fails("EBADF", lambda: checked(libc.readahead(os.open(path, os.O_WRONLY), ctypes.c_longlong(0), 20_000)))
    os.pwrite(file, b"H", 0)
    checked(libc.sync_file_range(file, ctypes.c_longlong(0), ctypes.c_longlong(0), 7))
    fails("EINVAL", lambda: checked(libc.sync_file_range(file, ctypes.c_longlong(0), ctypes.c_longlong(0), 8)))
    checked(libc.syncfs(file))
    equal(read(path), b"H" + content[1:])
