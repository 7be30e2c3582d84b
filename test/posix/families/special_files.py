"""mknod(2), mkfifo(3), sockets, devices."""
import os
import socket
import stat

from suite import ALICE, as_user, case, equal, exists, fails, mode_of, true


@case
def makes(place):
    """mknod makes files, fifos and sockets, root devices too, with mode & ~umask and their numbers"""
    os.umask(0o022)
    for name, kind in (("file", stat.S_IFREG), ("fifo", stat.S_IFIFO), ("socket", stat.S_IFSOCK)):
        os.mknod(place / name, kind | 0o666)
        found = os.lstat(place / name)
        equal((stat.S_IFMT(found.st_mode), mode_of(place / name)), (kind, 0o644), name)
    place.needs_root()
    for name, kind, device in (("null", stat.S_IFCHR, (1, 3)), ("disk", stat.S_IFBLK, (259, 300_000))):
        os.mknod(place / name, kind | 0o600, os.makedev(*device))
        found = os.lstat(place / name)
        equal(stat.S_IFMT(found.st_mode), kind, name)
        equal((os.major(found.st_rdev), os.minor(found.st_rdev)), device, "device")


@case
def errors(place):
    """mknod: EEXIST, ENOENT, ENOTDIR, EINVAL for directories and symlinks, EPERM for devices of users, EACCES"""
    place.file("file")
    fails("EEXIST", os.mkfifo, place / "file")
    fails("ENOENT", os.mkfifo, place / "missing/x")
    fails("ENOTDIR", os.mkfifo, place / "file/x")
    fails("ENAMETOOLONG", os.mkfifo, place / ("n" * 256))
    fails(("EPERM", "EINVAL"), os.mknod, place / "x", stat.S_IFDIR | 0o755)
    fails("EINVAL", os.mknod, place / "x", stat.S_IFLNK | 0o755)
    place.needs_root()
    fails("EACCES", as_user, ALICE, lambda: os.mkfifo(place / "x"))
    os.chmod(place.path, 0o777)
    fails("EPERM", as_user, ALICE, lambda: os.mknod(place / "x", stat.S_IFCHR | 0o666, os.makedev(1, 3)))


@case
def fifo(place):
    """What is written into a fifo comes out at its other end"""
    os.mkfifo(place / "fifo")
    reader = os.open(place / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(place / "fifo", os.O_WRONLY)
    os.write(writer, b"through")
    equal(os.read(reader, 100), b"through")
    equal(os.stat(place / "fifo").st_size, 0, "size")


@case
def sockets(place):
    """A socket is bound to a name, connected through it; a second bind: EADDRINUSE; open: ENXIO"""
    os.chdir(place.path)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("socket")
        server.listen()
        true(stat.S_ISSOCK(os.stat("socket").st_mode), "it is a socket")
        client.connect("socket")
        with socket.socket(socket.AF_UNIX) as second:
            fails("EADDRINUSE", second.bind, "socket")
        fails("ENXIO", os.open, "socket", os.O_RDONLY)
    os.unlink("socket")
    true(not exists("socket"), "gone")


@case
def devices(place):
    """A device works through its node, where the mount allows it"""
    place.needs_root()
    place.needs(not os.statvfs(place.path).f_flag & os.ST_NODEV, "mounted with nodev")
    os.mknod(place / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    with open(place / "zero", "rb") as device:
        equal(device.read(10), bytes(10))
