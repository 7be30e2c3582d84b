"""
Looks at the same files again and again and writes what it saw to standard output, with the moment at which it began to
look: watcher.py WAY DIRECTORY FILES. A file's version is its size less 100, and each of its 16-byte records. WAY is
`path` (stat, open, read), `handle` (descriptors open from the start), `map` (memory mapped from the start) or `names`
(what is replaced and renamed: the version is in the name, the link or the size of the file that stands there now).
"""
import errno
import mmap
import os
import sys
import time

way, directory, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
paths = [f"{directory}/watched{number}" for number in range(count)]


def tell(start, number, what, call):
    try:
        version = call()
    except OSError as error:
        version = errno.errorcode[error.errno]
    print(f"{start:.6f} {number} {what} {version}", flush=True)


def version_of(content):
    records = {content[at : at + 16] for at in range(0, len(content) // 16 * 16, 16)}
    if len(records) != 1:
        raise AssertionError(f"a mixture of versions: {records}")
    return int(records.pop())


def read_by_path(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return version_of(os.read(descriptor, 96))
    finally:
        os.close(descriptor)


def listed_version():
    """The oldest: a listing takes two READDIRs at least, and the second may show the new name beside the old one."""
    return min(int(name) for name in os.listdir(f"{directory}/renamed"))


if way == "names":
    while True:
        tell(time.monotonic(), 0, "list", listed_version)
        tell(time.monotonic(), 0, "replaced", lambda: os.stat(f"{directory}/replaced").st_size - 100)
        tell(time.monotonic(), 0, "link", lambda: int(os.readlink(f"{directory}/link")))

handles = [os.open(path, os.O_RDWR) for path in paths] if way in ("handle", "map") else []
maps = [mmap.mmap(handle, 96, mmap.MAP_SHARED, mmap.PROT_READ) for handle in handles] if way == "map" else []

while True:
    for number, path in enumerate(paths):
        now = time.monotonic
        if way == "path":
            tell(now(), number, "stat", lambda: os.stat(path).st_size - 100)
            tell(now(), number, "read", lambda: read_by_path(path))
        elif way == "handle":
            tell(now(), number, "fstat", lambda: os.fstat(handles[number]).st_size - 100)
            tell(now(), number, "pread", lambda: version_of(os.pread(handles[number], 96, 0)))
        else:
            tell(now(), number, "memory", lambda: version_of(maps[number][0:96]))
    time.sleep(0.002)
