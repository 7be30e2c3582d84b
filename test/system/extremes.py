"""
Sizes that hurt, on a mount, looked at from another one: `extremes.py HERE THERE CASE [COUNT]`. Prints a line of figures,
and ends with an error where something is not as it must be.
"""
import errno
import os
import sys
import time

GIB = 1 << 30
TIB = 1 << 40
LINKS_MAX = 65_000
FILE_BYTES_MAX = 16 * TIB

here, there, case = sys.argv[1:4]
count = int(sys.argv[4]) if len(sys.argv) > 4 else 0
began = time.monotonic()
figures = []


def told(what, number=1):
    global began
    seconds = time.monotonic() - began
    figures.append(f"{what} {seconds:.3g} s" + (f" ({number / seconds:.0f}/s)" if number > 1 else ""))
    began = time.monotonic()


def fails(number, call, *values):
    try:
        call(*values)
    except OSError as error:
        assert error.errno == number, f"{errno.errorcode[error.errno]}, not {errno.errorcode[number]}"
        return
    raise AssertionError(f"it should fail with {errno.errorcode[number]}")


def sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def large_directory():
    """Names are made, counted, looked up, some are removed during a listing, then all."""
    directory = f"{here}/large"
    os.mkdir(directory)
    for number in range(count):
        os.close(os.open(f"{directory}/file-{number:07}", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    told("create", count)
    sync(here)
    told("sync")
    assert os.stat(f"{there}/large/file-{count // 2:07}").st_nlink == 1
    told("first look elsewhere")
    assert sum(1 for _ in os.scandir(f"{there}/large")) == count
    told("list elsewhere", count)
    names = os.listdir(directory)
    assert len(names) == len(set(names)) == count
    told("list", count)
    for number in range(0, count, max(1, count // 1000)):
        assert os.stat(f"{there}/large/file-{number:07}").st_nlink == 1
    fails(errno.ENOENT, os.stat, f"{there}/large/file-{count:07}")
    told("1,000 looked up elsewhere")
    seen = set()
    with os.scandir(directory) as entries:
        for entry in entries:
            assert entry.name not in seen, f"{entry.name} twice"
            seen.add(entry.name)
            if len(seen) % 2 == 0:
                os.unlink(entry.path)
    assert len(seen) == count, f"{len(seen)} of {count} names seen while half of them went"
    told("remove every second one while listing", count // 2)
    assert sum(1 for _ in os.scandir(f"{there}/large")) == count - count // 2
    told("list elsewhere", count // 2)
    for name in os.listdir(directory):
        os.unlink(f"{directory}/{name}")
    told("remove", count // 2)
    os.rmdir(directory)
    fails(errno.ENOENT, os.listdir, f"{there}/large")
    sync(here)
    told("sync")


def deep_tree():
    """A path of long names, far longer than PATH_MAX, walked from both sides, moved and removed."""
    name = "d" * 255
    os.chdir(here)
    for _ in range(count):
        os.mkdir(name)
        os.chdir(name)
    with open("bottom", "w") as made:
        made.write("deep")
    told(f"{count} levels", count)
    fails(errno.ENAMETOOLONG, os.stat, f"{here}/" + f"{name}/" * count)
    os.rename(f"{here}/{name}", f"{here}/top")
    os.chdir(f"{there}/top")
    for _ in range(count - 1):
        os.chdir(name)
    assert open("bottom").read() == "deep"
    os.unlink("bottom")
    for level in range(count - 1):
        os.chdir("..")
        os.rmdir(name)
    os.chdir("/")
    os.rmdir(f"{there}/top")
    fails(errno.ENOENT, os.stat, f"{here}/top")
    told("walked and removed elsewhere", count)


def many_links():
    """As many names of one file as there may be, and one more."""
    path = f"{here}/linked"
    os.mkdir(f"{here}/links")
    open(path, "w").close()
    for number in range(LINKS_MAX - 1):
        os.link(path, f"{here}/links/{number}")
    assert os.stat(f"{there}/linked").st_nlink == LINKS_MAX
    fails(errno.EMLINK, os.link, path, f"{here}/links/more")
    fails(errno.EMLINK, os.link, f"{there}/linked", f"{there}/links/more")
    told("link", LINKS_MAX)
    os.unlink(f"{there}/links/0")
    os.link(path, f"{here}/links/more")
    for entry in os.scandir(f"{here}/links"):
        os.unlink(entry.path)
    os.rmdir(f"{here}/links")
    assert os.stat(f"{there}/linked").st_nlink == 1
    os.unlink(path)
    told("unlink", LINKS_MAX)


def sparse_file():
    """100 GB with a little data in each: found by SEEK_DATA, copied with its holes, cut in the middle."""
    path = f"{here}/sparse"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    os.ftruncate(descriptor, 100 * GIB)
    for number in range(100):
        os.pwrite(descriptor, b"%08d" % number, number * GIB + 12_345)
    os.fsync(descriptor)
    told("written")
    other = os.open(f"{there}/sparse", os.O_RDWR)
    assert os.fstat(other).st_size == 100 * GIB
    assert os.fstat(other).st_blocks * 512 <= 100 * 4 * 1024 * 1024
    position, found = 0, 0
    while True:
        try:
            start = os.lseek(other, position, os.SEEK_DATA)
        except OSError as error:
            assert error.errno == errno.ENXIO
            break
        position = os.lseek(other, start, os.SEEK_HOLE)
        assert start // GIB == found and position - start <= 4 * 1024 * 1024
        assert os.pread(other, 8, found * GIB + 12_345) == b"%08d" % found
        found += 1
    assert found == 100, f"{found} pieces of data"
    told("found elsewhere")
    copy = os.open(f"{there}/copy", os.O_RDWR | os.O_CREAT)
    done = 0
    while moved := os.copy_file_range(other, copy, GIB, done, done):
        done += moved
    assert done == 100 * GIB and os.fstat(copy).st_blocks == os.fstat(other).st_blocks
    assert os.pread(copy, 8, 99 * GIB + 12_345) == b"%08d" % 99
    told("copied elsewhere")
    os.ftruncate(copy, 50 * GIB + 12_349)
    os.ftruncate(copy, 100 * GIB)
    mine = os.open(f"{here}/copy", os.O_RDONLY)
    assert os.pread(mine, 16, 50 * GIB + 12_345) == b"0000" + bytes(12)
    assert os.pread(mine, 8, 99 * GIB + 12_345) == bytes(8)
    os.unlink(f"{here}/copy")
    os.unlink(path)
    told("cut and removed")


def largest_file():
    """16 TiB: the last byte can be written, nothing behind it."""
    path = f"{here}/largest"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    assert os.pwrite(descriptor, b"end", FILE_BYTES_MAX - 3) == 3
    fails(errno.EFBIG, os.pwrite, descriptor, b"x", FILE_BYTES_MAX)
    fails(errno.EFBIG, os.ftruncate, descriptor, FILE_BYTES_MAX + 1)
    fails(errno.EFBIG, os.write, os.open(path, os.O_WRONLY | os.O_APPEND), b"x")
    os.fsync(descriptor)
    other = os.open(f"{there}/largest", os.O_RDWR)
    assert os.fstat(other).st_size == FILE_BYTES_MAX
    assert os.fstat(other).st_blocks * 512 <= 4 * 1024 * 1024
    assert os.pread(other, 10, FILE_BYTES_MAX - 3) == b"end"
    assert os.pread(other, 10, FILE_BYTES_MAX) == b""
    assert os.pread(other, 4096, 8 * TIB) == bytes(4096)
    assert os.lseek(other, 0, os.SEEK_DATA) >= FILE_BYTES_MAX - 4 * 1024 * 1024
    os.ftruncate(other, 1)
    assert os.fstat(descriptor).st_size == 1
    os.ftruncate(descriptor, FILE_BYTES_MAX)
    os.unlink(path)
    told("written, read and cut")


{
    "large-directory": large_directory,
    "deep-tree": deep_tree,
    "many-links": many_links,
    "sparse-file": sparse_file,
    "largest-file": largest_file,
}[case]()
print(", ".join(figures))
