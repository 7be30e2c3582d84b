"""rename(2), renameat2(2)."""
import os

from calls import RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, renameat2
from suite import ALICE, BOB, as_user, case, equal, exists, fails, read, tick, true, write


@case
def moves_files(place):
    """A file moves within and across directories: same inode, newer ctime, same mtime; directories get newer times"""
    path = place.file("a", b"content")
    place.directory("d")
    before, directory = os.stat(path), os.stat(place / "d")
    tick()
    os.rename(path, place / "d/b")
    after = os.stat(place / "d/b")
    true(not exists(path), "the old name is gone")
    equal((after.st_ino, after.st_mtime_ns), (before.st_ino, before.st_mtime_ns), "inode and mtime")
    true(after.st_ctime_ns > before.st_ctime_ns, "ctime grows")
    true(os.stat(place / "d").st_mtime_ns > directory.st_mtime_ns, "mtime of the new directory grows")
    equal(read(place / "d/b"), b"content")


@case
def all_types(place):
    """Symlinks, fifos, sockets and directories are renamed themselves"""
    os.symlink("target", place / "symlink")
    os.mkfifo(place / "fifo")
    os.mkdir(place / "directory")
    for name in ("symlink", "fifo", "directory"):
        inode = os.lstat(place / name).st_ino
        os.rename(place / name, place / f"new-{name}")
        equal(os.lstat(place / f"new-{name}").st_ino, inode, name)
        true(not exists(place / name), name)


@case
def replaces_file(place):
    """Over a file: the replaced one loses a link, and what is open stays readable"""
    old, new = place.file("old", b"old"), place.file("new", b"new")
    os.link(old, place / "second")
    with open(old, "rb") as opened:
        os.rename(new, old)
        equal(opened.read(), b"old")
    equal(read(old), b"new")
    equal(os.stat(place / "second").st_nlink, 1, "links of the replaced file")


@case
def replaces_directory(place):
    """Over an empty directory, not over a full one (ENOTEMPTY or EEXIST); the links of the parent follow"""
    for name in ("a", "empty", "full", "full/x"):
        os.mkdir(place / name)
    fails(("ENOTEMPTY", "EEXIST"), os.rename, place / "a", place / "full")
    links = os.stat(place.path).st_nlink
    os.rename(place / "a", place / "empty")
    true(not exists(place / "a"), "the old name is gone")
    if place.kind != "btrfs":
        equal(os.stat(place.path).st_nlink, links - 1, "links of the parent")


@case
def link_counts_of_parents(place):
    """A directory that moves takes its link from one parent to the other, and its `..` follows"""
    for name in ("one", "two", "one/d"):
        os.mkdir(place / name)
    os.rename(place / "one/d", place / "two/d")
    if place.kind != "btrfs":
        equal((os.stat(place / "one").st_nlink, os.stat(place / "two").st_nlink), (2, 3), "links")
    true(os.path.samefile(place / "two/d/..", place / "two"), "`..`")
    os.chdir(place / "two/d")
    os.rename(place / "two/d", place / "one/e")
    true(os.path.samefile("..", place / "one"), "`..` of the working directory")
    equal(os.getcwd(), place / "one/e", "getcwd")


@case
def same_inode(place):
    """Two names of one inode, or a name onto itself: nothing happens, both stay"""
    a = place.file("a")
    os.link(a, place / "b")
    os.rename(a, place / "b")
    os.rename(a, a)
    true(exists(a) and exists(place / "b"), "both names stay")
    equal(os.stat(a).st_nlink, 2, "links")
    os.mkdir(place / "d")
    os.rename(place / "d", place / "d")


@case
def into_itself(place):
    """A directory into itself or below: EINVAL; over what contains it: ENOTEMPTY"""
    os.makedirs(place / "a/b/c")
    fails("EINVAL", os.rename, place / "a", place / "a/x")
    fails("EINVAL", os.rename, place / "a", place / "a/b/c/x")
    fails("EINVAL", os.rename, place / "a", place / "a/b")
    fails(("ENOTEMPTY", "EEXIST"), os.rename, place / "a/b/c", place / "a")
    place.file("a/b/f")
    fails(("ENOTEMPTY", "EEXIST", "EISDIR"), os.rename, place / "a/b/f", place / "a")


@case
def errors(place):
    """ENOENT, ENOTDIR, EISDIR, ENAMETOOLONG, EBUSY or EINVAL for `.` and `..`"""
    place.file("file")
    place.directory("directory")
    fails("ENOENT", os.rename, place / "missing", place / "x")
    fails("ENOENT", os.rename, place / "file", place / "missing/x")
    fails("ENOENT", os.rename, place / "missing/x", place / "y")
    fails("ENOENT", os.rename, place / "file", "")
    fails("ENOTDIR", os.rename, place / "file/x", place / "y")
    fails("ENOTDIR", os.rename, place / "directory", place / "file/x")
    fails("ENOTDIR", os.rename, place / "directory", place / "file")
    fails("ENOTDIR", os.rename, place / "file/", place / "y")
    fails("ENOTDIR", os.rename, place / "file", place / "y/")
    fails("EISDIR", os.rename, place / "file", place / "directory")
    fails("ENAMETOOLONG", os.rename, place / "file", place / ("n" * 256))
    fails("ENAMETOOLONG", os.rename, place / ("n" * 256), place / "x")
    fails(("EBUSY", "EINVAL"), os.rename, place / "directory/.", place / "x")
    fails(("EBUSY", "EINVAL"), os.rename, place / "file", place / "directory/..")
    fails("EXDEV", os.rename, place / "file", "/proc/self/x")
    os.rename(place / "directory/", place / "moved/")


@case
def no_replace(place):
    """RENAME_NOREPLACE: EEXIST if the name is there (a dangling symlink, too), else as rename"""
    a, b = place.file("a", b"a"), place.file("b", b"b")
    os.symlink("nowhere", place / "dangling")
    fails("EEXIST", renameat2, a, b, RENAME_NOREPLACE)
    fails("EEXIST", renameat2, a, place / "dangling", RENAME_NOREPLACE)
    fails("EEXIST", renameat2, a, a, RENAME_NOREPLACE)
    renameat2(a, place / "c", RENAME_NOREPLACE)
    equal((read(place / "c"), read(b)), (b"a", b"b"))


@case
def exchange(place):
    """RENAME_EXCHANGE: two names change places in one step, of whatever types, also across directories"""
    a, b = place.file("a", b"a"), place.file("b", b"b")
    place.directory("d")
    place.directory("e")
    inner = place.file("d/inner", b"inner")
    inodes = os.stat(a).st_ino, os.stat(b).st_ino
    ctime = os.stat(b).st_ctime_ns
    tick()
    renameat2(a, b, RENAME_EXCHANGE)
    equal((os.stat(b).st_ino, os.stat(a).st_ino), inodes, "inodes")
    equal((read(a), read(b)), (b"b", b"a"))
    true(os.stat(a).st_ctime_ns > ctime, "ctime grows")
    renameat2(a, inner, RENAME_EXCHANGE)
    equal((read(a), read(inner)), (b"inner", b"b"))
    equal(sorted(os.listdir(place.path)), ["a", "b", "d", "e"])
    renameat2(a, place / "d", RENAME_EXCHANGE)
    true(os.path.isdir(a) and read(place / "d") == b"inner", "a directory and a file")
    equal(os.listdir(a), ["inner"])


@case
def exchange_links(place):
    """RENAME_EXCHANGE of a file and a directory of two parents: their links and `..` follow"""
    for name in ("one", "two", "one/d"):
        os.mkdir(place / name)
    place.file("two/f")
    renameat2(place / "one/d", place / "two/f", RENAME_EXCHANGE)
    if place.kind != "btrfs":
        equal((os.stat(place / "one").st_nlink, os.stat(place / "two").st_nlink), (2, 3), "links")
    true(os.path.samefile(place / "two/f/..", place / "two"), "`..`")
    os.mkdir(place / "one/e")
    os.mkdir(place / "one/e/inner")
    renameat2(place / "one/e", place / "two/f", RENAME_EXCHANGE)
    true(os.path.samefile(place / "two/f/..", place / "two"), "`..` of the first")
    true(os.path.samefile(place / "one/e/..", place / "one"), "`..` of the second")
    equal(os.listdir(place / "two/f"), ["inner"])
    os.rmdir(place / "two/f/inner")
    for name in ("two/f", "one/e"):
        os.rmdir(place / name)
    os.unlink(place / "one/d")
    for name in ("one", "two"):
        os.rmdir(place / name)


@case
def exchange_errors(place):
    """RENAME_EXCHANGE: ENOENT if one is missing, EINVAL with NOREPLACE or for a directory and what is below it"""
    a = place.file("a")
    os.makedirs(place / "d/e")
    fails("ENOENT", renameat2, a, place / "missing", RENAME_EXCHANGE)
    fails("ENOENT", renameat2, place / "missing", a, RENAME_EXCHANGE)
    fails("EINVAL", renameat2, a, a, RENAME_EXCHANGE | RENAME_NOREPLACE)
    fails("EINVAL", renameat2, place / "d", place / "d/e", RENAME_EXCHANGE)
    fails(("EINVAL", "ENOTEMPTY"), renameat2, place / "d/e", place / "d", RENAME_EXCHANGE)
    renameat2(a, a, RENAME_EXCHANGE)
    fails("EINVAL", renameat2, a, place / "x", 1 << 10)


@case
def whiteout(place):
    """RENAME_WHITEOUT leaves a device 0,0 behind, or is refused with EINVAL and changes nothing"""
    a = place.file("a", b"a")
    try:
        renameat2(a, place / "b", RENAME_WHITEOUT)
    except OSError as error:
        equal(error.errno, 22, "errno")
        true(exists(a) and not exists(place / "b"), "nothing has changed")
        return
    equal(os.lstat(a).st_rdev, 0, "device")
    equal(read(place / "b"), b"a")


@case
def permissions(place):
    """rename wants write permission in both directories, and in a moved directory if its `..` changes"""
    place.needs_root()
    mine, theirs = place.directory("mine"), place.directory("theirs")
    os.chown(mine, ALICE, ALICE)
    os.chmod(theirs, 0o777)
    place.file("mine/f")
    write(place / "theirs/g", b"")
    os.mkdir(place / "theirs/d")
    os.chmod(place / "theirs/d", 0o555)
    as_user(ALICE, lambda: os.rename(place / "mine/f", place / "theirs/f"))
    fails("EACCES", as_user, BOB, lambda: os.rename(place / "theirs/g", place / "mine/g"))
    fails("EACCES", as_user, ALICE, lambda: os.rename(place / "theirs/d", place / "mine/d"))
    as_user(ALICE, lambda: os.rename(place / "theirs/d", place / "theirs/e"))


@case
def sticky(place):
    """In a sticky directory only the owner of file or directory renames, replaces and removes: EPERM or EACCES"""
    place.needs_root()
    shared = place.directory("shared", 0o1777)
    for owner, name in ((ALICE, "a"), (BOB, "b")):
        as_user(owner, lambda: write(f"{shared}/{name}", b""))
        as_user(owner, lambda: os.mkdir(f"{shared}/{name}d"))
    denied = ("EPERM", "EACCES")
    fails(denied, as_user, BOB, lambda: os.rename(f"{shared}/a", f"{shared}/x"))
    fails(denied, as_user, BOB, lambda: os.rename(f"{shared}/b", f"{shared}/a"))
    fails(denied, as_user, BOB, lambda: os.unlink(f"{shared}/a"))
    fails(denied, as_user, BOB, lambda: os.rmdir(f"{shared}/ad"))
    fails(denied, as_user, BOB, lambda: renameat2(f"{shared}/b", f"{shared}/a", RENAME_EXCHANGE))
    as_user(BOB, lambda: os.rename(f"{shared}/b", f"{shared}/c"))
    as_user(ALICE, lambda: os.unlink(f"{shared}/a"))
    os.chown(shared, BOB, BOB)
    os.chmod(shared, 0o1777)
    as_user(BOB, lambda: os.rmdir(f"{shared}/ad"))
