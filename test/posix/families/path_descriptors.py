"""O_PATH: descriptors that name a file without opening it. openat2(2): how a path may lead. chroot(2), fchdir(2), and /proc."""
import os
import stat

from calls import (
    RESOLVE_BENEATH,
    RESOLVE_CACHED,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    linkat,
    openat2,
)
from suite import case, equal, fails, in_child, true

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000


@case
def only_names(place):
    """An O_PATH descriptor is for fstat, fchdir and the *at calls; reading, writing, fchmod, locks and xattrs are EBADF"""
    path = place.file("f", b"content", 0o640)
    named = os.open(path, os.O_PATH)
    equal((os.fstat(named).st_size, oct(os.fstat(named).st_mode)), (7, "0o100640"))
    for call in (
        lambda: os.read(named, 1),
        lambda: os.write(named, b"x"),
        lambda: os.fchmod(named, 0o600),
        lambda: os.fchown(named, -1, -1),
        lambda: os.ftruncate(named, 0),
        lambda: os.fsync(named),
        lambda: os.getxattr(named, "user.a"),
    ):
        fails("EBADF", call)
    os.rename(path, place / "g")
    again = os.open(f"/proc/self/fd/{named}", os.O_RDWR)
    equal(os.read(again, 100), b"content")
    os.mkdir(place / "d")
    directory = os.open(place / "d", os.O_PATH)
    os.close(os.open("inside", os.O_WRONLY | os.O_CREAT, dir_fd=directory))
    os.fchdir(directory)
    equal(os.listdir("."), ["inside"])


@case
def of_symlinks(place):
    """O_PATH with O_NOFOLLOW opens the symlink itself; its target is read by an empty path"""
    os.symlink("nowhere", place / "link")
    named = os.open(place / "link", os.O_PATH | os.O_NOFOLLOW)
    true(stat.S_ISLNK(os.fstat(named).st_mode), "a symlink")
    equal(os.readlink("", dir_fd=named), "nowhere")
    fails("ELOOP", os.open, place / "link", os.O_RDONLY | os.O_NOFOLLOW)
    fails("ENOENT", os.open, place / "link", os.O_PATH)


@case
def get_names(place):
    """A file that a descriptor names gets another name (AT_EMPTY_PATH), unless it has lost its last one (ENOENT)"""
    place.needs_root()
    path = place.file("f", b"content")
    named = os.open(path, os.O_PATH)
    linkat(named, "", AT_FDCWD, place / "g", AT_EMPTY_PATH)
    equal(os.stat(path).st_nlink, 2)
    os.unlink(path)
    os.unlink(place / "g")
    fails("ENOENT", linkat, named, "", AT_FDCWD, place / "h", AT_EMPTY_PATH)


@case
def confined(place):
    """RESOLVE_BENEATH, IN_ROOT, NO_SYMLINKS, NO_XDEV: EXDEV and ELOOP for what leads out"""
    os.makedirs(place / "top/d")
    place.file("top/f", b"in")
    place.file("out", b"out")
    os.symlink("f", place / "top/link")
    os.symlink("../../out", place / "top/d/up")
    os.symlink("/f", place / "top/absolute")
    top = os.open(place / "top", os.O_PATH)
    try:
        os.close(openat2("f", os.O_RDONLY, 0, top))
    except OSError as error:
        place.needs(error.errno != 38, "no openat2")
        raise
    content = lambda resolve, path: os.read(openat2(path, os.O_RDONLY, resolve, top), 10)
    equal(content(RESOLVE_BENEATH, "d/../f"), b"in")
    equal(content(RESOLVE_BENEATH | RESOLVE_NO_XDEV, "link"), b"in")
    equal(content(RESOLVE_IN_ROOT, "../../f"), b"in")
    equal(content(RESOLVE_IN_ROOT, "absolute"), b"in")
    for path in ("../out", "d/up", "absolute", "/f"):
        fails("EXDEV", content, RESOLVE_BENEATH, path)
    fails("ENOENT", content, RESOLVE_IN_ROOT, "d/up")
    fails("ELOOP", content, RESOLVE_NO_SYMLINKS, "link")
    fails("EXDEV", content, RESOLVE_NO_XDEV, "absolute")
    fails("EINVAL", openat2, "f", os.O_RDONLY, 0, top, 0o644)
    os.stat(place / "top/f")
    try:
        equal(content(RESOLVE_CACHED, "f"), b"in")
    except BlockingIOError:
        pass  # the kernel has kept nothing of the name


@case
def new_root(place):
    """chroot: paths begin there, `..` leads no further, and what was open before stays open"""
    place.needs_root()
    os.makedirs(place / "root/d")
    place.file("root/d/f", b"inside")
    before = os.open(place.file("outside", b"before"), os.O_RDONLY)

    def body():
        os.chroot(place / "root")
        os.chdir("/d")
        equal(open("/d/f", "rb").read(), b"inside")
        equal(open("../../../d/f", "rb").read(), b"inside")
        equal(os.getcwd(), "/d")
        fails("ENOENT", os.stat, place / "outside")
        equal(os.read(before, 10), b"before")

    in_child(body)


@case
def gone_directory(place):
    """A working directory that was removed: it is empty, nothing can be made in it, getcwd is ENOENT"""
    os.mkdir(place / "d")
    os.chdir(place / "d")
    os.rmdir(place / "d")
    equal(os.listdir("."), [])
    fails("ENOENT", os.getcwd)
    fails("ENOENT", os.open, "f", os.O_WRONLY | os.O_CREAT)
    fails("ENOENT", os.mkdir, "e")
    fails("ENOENT", os.symlink, "x", "s")
    fails("ENOENT", os.rename, place.file("f"), "f")
    equal(os.stat(".").st_nlink, 0)
    os.stat("..")
