"""mkdir(2), rmdir(2)."""
import os

from suite import ALICE, STAFF, as_user, case, equal, exists, fails, mode_of, tick, true


@case
def makes(place):
    """mkdir makes an empty directory with two links, counted in its parent, with mode & ~umask"""
    before = os.stat(place.path)
    tick()
    os.umask(0o027)
    os.mkdir(place / "d", 0o777)
    equal(mode_of(place / "d"), 0o750, "mode")
    equal(os.listdir(place / "d"), [])
    after = os.stat(place.path)
    if place.kind != "btrfs":
        equal(os.stat(place / "d").st_nlink, 2, "links")
        equal(after.st_nlink, before.st_nlink + 1, "links of the parent")
    true(after.st_mtime_ns > before.st_mtime_ns, "mtime of the parent grows")
    true(after.st_ctime_ns > before.st_ctime_ns, "ctime of the parent grows")


@case
def modes(place):
    """mkdir takes permission and sticky bits from mode, and leaves set-id bits away"""
    os.umask(0)
    for mode in (0, 0o111, 0o700, 0o1777):
        os.mkdir(place / f"{mode:o}", mode)
        equal(mode_of(place / f"{mode:o}"), mode, "mode")
    os.mkdir(place / "setid", 0o6755)
    equal(mode_of(place / "setid"), 0o755, "mode with set-id bits asked for")


@case
def inherits_setgid(place):
    """A directory made in a setgid directory has its group and its setgid bit"""
    place.needs_root()
    parent = place.directory("parent", 0o2777)
    os.chown(parent, 0, STAFF)
    os.chmod(parent, 0o2777)
    as_user(ALICE, lambda: os.mkdir(f"{parent}/child", 0o755))
    found = os.stat(f"{parent}/child")
    equal((found.st_uid, found.st_gid), (ALICE, STAFF), "owner")
    equal(mode_of(f"{parent}/child"), 0o2755, "mode")


@case
def mkdir_errors(place):
    """mkdir: EEXIST for all types, ENOENT, ENOTDIR, ENAMETOOLONG, EACCES"""
    place.file("file")
    place.directory("directory")
    os.symlink("nowhere", place / "dangling")
    for name in ("file", "directory", "dangling"):
        fails("EEXIST", os.mkdir, place / name)
    fails("EEXIST", os.mkdir, place / "directory/.")
    fails("EEXIST", os.mkdir, place / "directory/..")
    fails("ENOENT", os.mkdir, place / "missing/x")
    fails("ENOENT", os.mkdir, "")
    fails("ENOENT", os.mkdir, place / "dangling/x")
    fails("ENOTDIR", os.mkdir, place / "file/x")
    os.mkdir(place / ("n" * 255))
    fails("ENAMETOOLONG", os.mkdir, place / ("n" * 256))
    if os.geteuid() == 0:
        fails("EACCES", as_user, ALICE, lambda: os.mkdir(place / "x"))


@case
def removed_directory(place):
    """Nothing can be made in a directory that was removed: ENOENT. It has no entries and no links"""
    os.mkdir(place / "d")
    descriptor = os.open(place / "d", os.O_RDONLY | os.O_DIRECTORY)
    os.chdir(place / "d")
    os.rmdir(place / "d")
    fails("ENOENT", os.mkdir, "x")
    fails("ENOENT", os.open, "x", os.O_CREAT | os.O_WRONLY)
    fails("ENOENT", os.symlink, "t", "x")
    fails("ENOENT", os.link, place.file("f"), "x")
    fails("ENOENT", os.rename, place / "f", "x")
    fails("ENOENT", os.getcwd)
    equal(os.listdir(descriptor), [])
    equal(os.fstat(descriptor).st_nlink, 0, "links")


@case
def rmdir_removes(place):
    """rmdir removes an empty directory; the parent has a link less, and newer times"""
    os.mkdir(place / "d")
    before = os.stat(place.path)
    tick()
    os.rmdir(place / "d")
    true(not exists(place / "d"), "it is gone")
    after = os.stat(place.path)
    if place.kind != "btrfs":
        equal(after.st_nlink, before.st_nlink - 1, "links of the parent")
    true(after.st_mtime_ns > before.st_mtime_ns, "mtime of the parent grows")


@case
def rmdir_errors(place):
    """rmdir: ENOTEMPTY, EINVAL for a dot at the end, ENOTDIR, ENOENT, EBUSY for a working root, ENAMETOOLONG"""
    os.makedirs(place / "full/sub")
    place.file("file")
    os.symlink("full", place / "link")
    fails(("ENOTEMPTY", "EEXIST"), os.rmdir, place / "full")
    fails("EINVAL", os.rmdir, place / "full/sub/.")
    fails(("ENOTEMPTY", "EEXIST"), os.rmdir, place / "full/sub/..")
    fails("ENOTDIR", os.rmdir, place / "file")
    fails("ENOTDIR", os.rmdir, place / "link")
    fails("ENOTDIR", os.rmdir, place / "file/x")
    fails("ENOENT", os.rmdir, place / "missing")
    fails("ENOENT", os.rmdir, place / "missing/x")
    fails("ENAMETOOLONG", os.rmdir, place / ("n" * 256))
    if os.geteuid() == 0:
        fails("EACCES", as_user, ALICE, lambda: os.rmdir(place / "full/sub"))
        fails("EBUSY", os.rmdir, "/proc")


@case
def deep(place):
    """A hundred directories below each other, each with its own name of 200 bytes, are made, listed and removed"""
    os.chdir(place.path)
    for level in range(100):
        name = f"{level:03}" + "d" * 197
        os.mkdir(name)
        os.chdir(name)
    for _level in range(100):
        true(len(os.listdir("..")) == 1, "one entry a level")
        os.chdir("..")
    true(os.path.samefile(".", place.path), "`..` leads back")
    os.chdir(place.path)
