"""link(2), linkat(2), unlink(2), unlinkat(2)."""
import os

from calls import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW, link_open, linkat
from suite import ALICE, as_user, case, equal, exists, fails, read, tick, true


@case
def links(place):
    """A link is another name of the inode: links and ctime grow, mtime stays"""
    a = place.file("a", b"content")
    before = os.stat(a)
    tick()
    os.link(a, place / "b")
    after = os.stat(place / "b")
    equal((after.st_ino, after.st_nlink, after.st_mtime_ns), (before.st_ino, 2, before.st_mtime_ns))
    true(after.st_ctime_ns > before.st_ctime_ns, "ctime grows")
    os.unlink(a)
    equal(os.stat(place / "b").st_nlink, 1, "links")
    equal(read(place / "b"), b"content")


@case
def of_symlinks(place):
    """linkat links a symlink itself, and with AT_SYMLINK_FOLLOW what it points to"""
    a = place.file("a")
    os.symlink("a", place / "s")
    linkat(AT_FDCWD, place / "s", AT_FDCWD, place / "hard", 0)
    equal(os.lstat(place / "hard").st_ino, os.lstat(place / "s").st_ino, "inode")
    equal(os.lstat(place / "s").st_nlink, 2, "links")
    linkat(AT_FDCWD, place / "s", AT_FDCWD, place / "b", AT_SYMLINK_FOLLOW)
    equal(os.lstat(place / "b").st_ino, os.lstat(a).st_ino, "inode")


@case
def of_special_files(place):
    """Fifos and sockets have links as files do"""
    os.mkfifo(place / "fifo")
    os.link(place / "fifo", place / "second")
    equal(os.stat(place / "fifo").st_nlink, 2, "links")


@case
def link_errors(place):
    """link: EEXIST, ENOENT, ENOTDIR, EPERM for a directory, ENAMETOOLONG, EXDEV"""
    a = place.file("a")
    place.directory("d")
    os.symlink("nowhere", place / "dangling")
    for name in ("a", "d", "dangling"):
        fails("EEXIST", os.link, a, place / name)
    fails("ENOENT", os.link, place / "missing", place / "x")
    fails("ENOENT", os.link, a, place / "missing/x")
    fails("ENOTDIR", os.link, a, place / "a/x")
    fails("ENOTDIR", os.link, place / "a/x", place / "y")
    fails("EPERM", os.link, place / "d", place / "x")
    fails("ENAMETOOLONG", os.link, a, place / ("n" * 256))
    fails("EXDEV", os.link, "/proc/self/status", place / "x")


@case
def by_descriptor(place):
    """linkat by descriptor (AT_EMPTY_PATH, /proc/self/fd) makes a name; not for a file that has none: ENOENT"""
    a = place.file("a", b"content")
    descriptor = os.open(a, os.O_RDONLY)
    link_open(descriptor, place / "b")
    if os.geteuid() == 0:
        linkat(descriptor, "", AT_FDCWD, place / "c", AT_EMPTY_PATH)
        os.unlink(place / "c")
    os.unlink(a)
    link_open(descriptor, place / "a")
    os.unlink(a)
    os.unlink(place / "b")
    fails("ENOENT", link_open, descriptor, place / "a")


@case
def unlinks(place):
    """unlink removes the name; the directory's times grow, and those of a file with another name"""
    a = place.file("a")
    os.link(a, place / "b")
    before, directory = os.stat(a), os.stat(place.path)
    tick()
    os.unlink(a)
    true(not exists(a), "it is gone")
    after = os.stat(place / "b")
    true(after.st_ctime_ns > before.st_ctime_ns, "ctime grows")
    equal(after.st_mtime_ns, before.st_mtime_ns, "mtime")
    true(os.stat(place.path).st_mtime_ns > directory.st_mtime_ns, "mtime of the directory grows")


@case
def unlink_types(place):
    """unlink removes symlinks (not what they point to), fifos; directories: EISDIR or EPERM"""
    a = place.file("a")
    os.symlink("a", place / "s")
    os.mkfifo(place / "fifo")
    place.directory("d")
    os.symlink("d", place / "sd")
    for name in ("s", "fifo", "sd"):
        os.unlink(place / name)
    true(exists(a) and exists(place / "d"), "targets stay")
    fails(("EISDIR", "EPERM"), os.unlink, place / "d")


@case
def unlink_errors(place):
    """unlink: ENOENT, ENOTDIR, ENAMETOOLONG, EACCES, and no removing of a file by its name as a directory"""
    a = place.file("a")
    fails("ENOENT", os.unlink, place / "missing")
    fails("ENOENT", os.unlink, "")
    fails("ENOTDIR", os.unlink, place / "a/x")
    fails("ENOTDIR", os.unlink, place / "a/")
    fails("ENAMETOOLONG", os.unlink, place / ("n" * 256))
    fails("ENOTDIR", os.rmdir, a)
    if os.geteuid() == 0:
        fails("EACCES", as_user, ALICE, lambda: os.unlink(a))


@case
def unlinked_but_open(place):
    """A file without a name stays whole until its last close: read, write, grow, shrink, change attributes, map"""
    path = place / "a"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.write(descriptor, b"before")
    os.unlink(path)
    equal(os.fstat(descriptor).st_nlink, 0, "links")
    os.pwrite(descriptor, b"after", 3)
    equal(os.pread(descriptor, 100, 0), b"befafter")
    os.ftruncate(descriptor, 100_000)
    equal(os.fstat(descriptor).st_size, 100_000, "size")
    os.fchmod(descriptor, 0o640)
    os.utime(descriptor, ns=(1, 2))
    found = os.fstat(descriptor)
    equal((found.st_mode & 0o777, found.st_atime_ns, found.st_mtime_ns), (0o640, 1, 2))
    again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
    equal(os.pread(again, 3, 0), b"bef")
    os.close(descriptor)
    equal(os.pread(again, 3, 0), b"bef")
    fails("ENOENT", os.stat, path)


@case
def many_links(place):
    """65,000 links (as ext4), where the long form runs; EMLINK then, where there is a limit"""
    place.needs(place.is_full, "takes minutes")
    place.needs(place.kind in ("ext4", "fuse"), "has another limit")
    a = place.file("a")
    os.mkdir(place / "d")
    for number in range(64_999):
        os.link(a, place / f"d/{number}")
    equal(os.stat(a).st_nlink, 65_000, "links")
    fails("EMLINK", os.link, a, place / "more")
    os.unlink(place / "d/7")
    os.link(a, place / "more")


@case
def many_subdirectories(place):
    """64,998 directories in one at least, where the long form runs"""
    place.needs(place.is_full, "takes minutes")
    for number in range(64_998):
        os.mkdir(place / str(number))
    equal(len(os.listdir(place.path)), 64_998, "entries")
    true(os.stat(place.path).st_nlink in (1, 65_000), "links: all, or 1 for uncounted")
