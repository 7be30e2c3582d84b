"""
A process that works on a mount for a system test: takes system calls as JSON lines on its standard input and answers
each with a line. One process for each mount stays, so that descriptors and mapped memory stay, too, and a step of a
test costs two system calls, not a new process. Bytes travel as Latin-1 strings, times come from the machine's
monotonic clock, which all agents and the test share.

A line is [name, argument, ...] or a list of such calls, which are made one after the other. The answer to a call is
{"value": ...} or {"error": "ENOENT"}, with the seconds it took.
"""
import ctypes
import errno
import json
import mmap
import os
import sys
import tarfile
import time
import zlib

import locking

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
RENAME_NOREPLACE = 1
maps = {}


def text(data):
    return bytes(data).decode("latin-1")


def data(characters):
    return characters.encode("latin-1")


def attributes(status):
    return {
        "inode": status.st_ino,
        "mode": status.st_mode,
        "links": status.st_nlink,
        "uid": status.st_uid,
        "gid": status.st_gid,
        "size": status.st_size,
        "mtimeNs": str(status.st_mtime_ns),
        "ctimeNs": str(status.st_ctime_ns),
    }


def read_all(descriptor):
    pieces = []
    while True:
        piece = os.read(descriptor, 1 << 20)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def read_file(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return read_all(descriptor)
    finally:
        os.close(descriptor)


def write_file(path, characters, synced=False):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(descriptor, data(characters))
        if synced:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_node(path, flags):
    os.close(os.open(path, flags | os.O_WRONLY | os.O_CREAT, 0o644))


def rename_new(old, new):
    """rename(2) that fails where the new name exists."""
    if libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), RENAME_NOREPLACE) != 0:
        raise OSError(ctypes.get_errno(), new)


def map_file(descriptor, length):
    name = max(maps, default=0) + 1
    maps[name] = mmap.mmap(descriptor, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    return name


def map_store(name, offset, characters):
    """Changes memory only: the kernel writes it when it likes."""
    maps[name][offset : offset + len(characters)] = data(characters)


def map_write(name, offset, characters):
    memory = maps[name]
    memory[offset : offset + len(characters)] = data(characters)
    memory.flush()  # msync(MS_SYNC) of the whole map


def sync_directory(path):
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_through(path):
    """Digest and length of each regular file under a directory, and what else is there, by path."""
    found = {}
    for directory, names, files in os.walk(path, onerror=raise_it):
        for name in names + files:
            whole = os.path.join(directory, name)
            relative = os.path.relpath(whole, path)
            if os.path.islink(whole):
                found[relative] = "-> " + os.readlink(whole)
            elif name in names:
                found[relative] = "directory"
            else:
                content = read_file(whole)
                found[relative] = f"{len(content)} bytes, CRC {zlib.crc32(content):08x}"
    return found


def raise_it(error):
    raise error


def fill(path, piece_bytes, most):
    """
    Writes pieces, each with its number in it, until one fails: how many whole bytes were taken, how many calls took only a
    part, and the error.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    written = 0
    short = 0
    failure = None
    try:
        for number in range(most):
            left = piece(number, piece_bytes)
            while left:
                count = os.write(descriptor, left)
                written += count
                left = left[count:]
                short += 1 if left else 0
    except OSError as error:
        failure = errno.errorcode[error.errno]
    try:
        os.close(descriptor)
    except OSError as error:
        failure = "close: " + errno.errorcode[error.errno]
    return {"written": written, "short": short, "failure": failure}


def piece(number, length):
    return (b"%016d" % number) * (length // 16)


def check_filled(path, piece_bytes, written):
    """The first piece that isn't as `fill` wrote it, in words, or None."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for number in range(-(-written // piece_bytes)):
            length = min(piece_bytes, written - number * piece_bytes)
            found = os.pread(descriptor, length, number * piece_bytes)
            if found != piece(number, piece_bytes)[:length]:
                return "%d bytes of %d at %d, beginning with %r" % (len(found), length, number * piece_bytes, found[:16])
        return None
    finally:
        os.close(descriptor)


def compare_with_archive(archive, path):
    """
    How far an archive has been unpacked, entry by entry in its order: `c` complete, `p` a prefix of the content, `m`
    missing, `w` anything else; one letter an entry. And the names of the first few that are not complete, and how long the
    slowest one took.
    """
    letters, doubtful, longest = [], [], 0
    with tarfile.open(archive) as entries:
        for entry in entries:
            began = time.monotonic()
            letter = state_of(entry, entries, os.path.join(path, entry.name))
            longest = max(longest, time.monotonic() - began)
            letters.append(letter)
            if letter != "c" and len(doubtful) < 10:
                doubtful.append(f"{letter} {entry.name}")
    return {"letters": "".join(letters), "doubtful": doubtful, "longestMs": longest * 1000}


def state_of(entry, entries, place):
    if not os.path.lexists(place):
        return "m"
    if entry.isdir():
        return "c" if os.path.isdir(place) else "w"
    if entry.issym():
        return "c" if os.path.islink(place) and os.readlink(place) == entry.linkname else "w"
    expected = entries.extractfile(entry).read()
    found = read_file(place)
    if found == expected:
        return "c"
    return "p" if expected.startswith(found) else "w"


def many(path, number):
    return f"{path}/{number // 1000}/{number}"


def touch_many(path, count):
    """Empty files, a thousand in each directory."""
    os.mkdir(path)
    for number in range(count):
        if number % 1000 == 0:
            os.mkdir(f"{path}/{number // 1000}")
        make_node(many(path, number), os.O_EXCL)


calls = {
    "open": lambda path, flags=os.O_RDWR | os.O_CREAT: os.open(path, flags, 0o644),
    "close": os.close,
    "pread": lambda descriptor, length, offset: text(os.pread(descriptor, length, offset)),
    "pwrite": lambda descriptor, characters, offset: os.pwrite(descriptor, data(characters), offset),
    "write": lambda descriptor, characters: os.write(descriptor, data(characters)),
    "readAll": lambda descriptor: (os.lseek(descriptor, 0, os.SEEK_SET), text(read_all(descriptor)))[1],
    "seekEnd": lambda descriptor: os.lseek(descriptor, 0, os.SEEK_END),
    "fsync": os.fsync,
    "fstat": lambda descriptor: attributes(os.fstat(descriptor)),
    "stat": lambda path: attributes(os.stat(path)),
    "lstat": lambda path: attributes(os.lstat(path)),
    "exists": lambda path: os.path.lexists(path),
    "readFile": lambda path: text(read_file(path)),
    "writeFile": write_file,
    "create": lambda path: make_node(path, os.O_EXCL),
    "unlink": os.unlink,
    "rename": os.rename,
    "renameNew": rename_new,
    "link": os.link,
    "symlink": os.symlink,
    "readlink": os.readlink,
    "mkdir": os.mkdir,
    "rmdir": os.rmdir,
    "list": lambda path: sorted(os.listdir(path)),
    "chmod": os.chmod,
    "chown": os.chown,
    "utime": lambda path, atime_ns, mtime_ns: os.utime(path, ns=(int(atime_ns), int(mtime_ns))),
    "truncate": os.truncate,
    "ftruncate": os.ftruncate,
    "setxattr": lambda path, name, value: os.setxattr(path, name, data(value)),
    "getxattr": lambda path, name: text(os.getxattr(path, name)),
    "listxattr": lambda path: sorted(os.listxattr(path)),
    "removexattr": os.removexattr,
    "map": map_file,
    "mapRead": lambda name, offset, length: text(maps[name][offset : offset + length]),
    "mapStore": map_store,
    "mapWrite": map_write,
    "unmap": lambda name: maps.pop(name).close(),
    "syncDirectory": sync_directory,
    "readThrough": read_through,
    "fill": fill,
    "checkFilled": check_filled,
    "compareWithArchive": compare_with_archive,
    "touchMany": touch_many,
    **locking.calls,
    "statMany": lambda path, count: [os.stat(many(path, number)).st_size for number in range(count)].count(0),
}


def answer(call):
    start = time.monotonic()
    try:
        result = {"value": calls[call[0]](*call[1:])}
    except OSError as error:
        result = {"error": errno.errorcode.get(error.errno, str(error.errno))}
    result["endSeconds"] = time.monotonic()
    result["seconds"] = result["endSeconds"] - start
    return result


if __name__ == "__main__":
    for line in sys.stdin:
        request = json.loads(line)
        several = isinstance(request[0], list)
        result = [answer(call) for call in request] if several else answer(request)
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
