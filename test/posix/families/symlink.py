"""symlink(2), readlink(2), and resolving them (path_resolution(7))."""
import os

from suite import ALICE, as_user, case, equal, exists, fails, mode_of, read, true


@case
def makes(place):
    """A symlink has its target as it was given, the target's length as size, mode 777, one link"""
    for number, target in enumerate(("a", "/", "missing/../x//y", "t" * 255, "é\udcff")):
        path = place / f"s{number}"
        os.symlink(target, path)
        equal(os.readlink(path), target, "target")
        found = os.lstat(path)
        equal((found.st_size, found.st_nlink), (len(os.fsencode(target)), 1), "size and links")
        equal(mode_of(path), 0o777, "mode")


@case
def long_targets(place):
    """A target of 4,095 bytes is the longest; one more: ENAMETOOLONG"""
    target = "/".join(["t" * 200] * 30)[:4095]
    longest = target if len(target) == 4095 else target.ljust(4095, "x")
    fails("ENAMETOOLONG", os.symlink, "x" * 4096, place / "s")
    if place.kind == "xfs":
        longest = longest[:1023]
    os.symlink(longest, place / "s")
    equal(os.readlink(place / "s"), longest, "target")


@case
def symlink_errors(place):
    """symlink: EEXIST, ENOENT (also for an empty target), ENOTDIR, ENAMETOOLONG, EACCES"""
    place.file("file")
    os.symlink("nowhere", place / "dangling")
    fails("EEXIST", os.symlink, "x", place / "file")
    fails("EEXIST", os.symlink, "x", place / "dangling")
    fails("ENOENT", os.symlink, "", place / "x")
    fails("ENOENT", os.symlink, "x", place / "missing/x")
    fails("ENOTDIR", os.symlink, "x", place / "file/x")
    fails("ENAMETOOLONG", os.symlink, "x", place / ("n" * 256))
    if os.geteuid() == 0:
        fails("EACCES", as_user, ALICE, lambda: os.symlink("x", place / "x"))


@case
def readlink_errors(place):
    """readlink: EINVAL for what is no symlink, ENOENT, ENOTDIR"""
    place.file("file")
    fails("EINVAL", os.readlink, place / "file")
    fails("EINVAL", os.readlink, place.path)
    fails("ENOENT", os.readlink, place / "missing")
    fails("ENOTDIR", os.readlink, place / "file/x")


@case
def follows(place):
    """Symlinks are followed in the middle of a path, at its end unless O_NOFOLLOW; dangling ones make their target"""
    place.directory("d")
    place.file("d/f", b"content")
    os.symlink("d", place / "s")
    os.symlink("s/f", place / "t")
    equal(read(place / "s/f"), b"content")
    equal(read(place / "t"), b"content")
    fails("ELOOP", os.open, place / "t", os.O_RDONLY | os.O_NOFOLLOW)
    fails("ENOTDIR", os.open, place / "s", os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    os.symlink("made", place / "dangling")
    fails("ENOENT", os.stat, place / "dangling")
    fails("EEXIST", os.open, place / "dangling", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.close(os.open(place / "dangling", os.O_CREAT | os.O_WRONLY))
    true(exists(place / "made"), "made through the link")


@case
def loops(place):
    """40 symlinks are followed, 41 are not: ELOOP; nor is one to itself"""
    place.file("0")
    for number in range(1, 42):
        os.symlink(str(number - 1), place / str(number))
    os.stat(place / "40")
    fails("ELOOP", os.stat, place / "41")
    os.symlink("itself", place / "itself")
    for call in (os.stat, os.listdir, os.rmdir, lambda path: os.open(path, os.O_RDONLY)):
        if call is os.rmdir:
            fails("ENOTDIR", call, place / "itself")
        else:
            fails("ELOOP", call, place / "itself")
    fails("ELOOP", os.stat, place / "itself/x")


@case
def attributes(place):
    """lchown and utimensat with AT_SYMLINK_NOFOLLOW change the symlink itself"""
    target = place.file("f")
    os.symlink("f", place / "s")
    before = os.stat(target)
    os.utime(place / "s", ns=(1_000_000_001, 2_000_000_002), follow_symlinks=False)
    found = os.lstat(place / "s")
    equal((found.st_atime_ns, found.st_mtime_ns), (1_000_000_001, 2_000_000_002), "times")
    if os.geteuid() == 0:
        os.lchown(place / "s", ALICE, ALICE)
        equal(os.lstat(place / "s").st_uid, ALICE, "owner")
    after = os.stat(target)
    equal((after.st_mtime_ns, after.st_uid), (before.st_mtime_ns, before.st_uid), "the target stays as it was")
