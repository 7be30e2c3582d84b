"""setxattr(2), getxattr(2), listxattr(2), removexattr(2); xattr(7)."""
import os

from suite import ALICE, BOB, as_user, case, equal, fails, tick, true


def supported(place):
    path = place.file("f", b"x", 0o644)
    try:
        os.setxattr(path, "user.x", b"")
        os.removexattr(path, "user.x")
    except OSError as error:
        place.needs(False, f"no user attributes here: {error.strerror}")
    return path


@case
def sets(place):
    """What is set is there, under any name and with any bytes; listed once; gone when removed; ctime grows"""
    path = supported(place)
    values = {"user.a": b"", "user.b": b"\x00\xff" * 100, "user." + "n" * 250: b"v", "user.\xe9 .": b"x"}
    before = os.stat(path)
    tick()
    for name, value in values.items():
        os.setxattr(path, name, value)
    true(os.stat(path).st_ctime_ns > before.st_ctime_ns, "ctime grows")
    equal(os.stat(path).st_mtime_ns, before.st_mtime_ns, "mtime")
    equal(sorted(name for name in os.listxattr(path) if name.startswith("user.")), sorted(values))
    for name, value in values.items():
        equal(os.getxattr(path, name), value, name)
        os.removexattr(path, name)
        fails("ENODATA", os.getxattr, path, name)
    equal([name for name in os.listxattr(path) if name.startswith("user.")], [])


@case
def flags(place):
    """XATTR_CREATE: EEXIST; XATTR_REPLACE: ENODATA; without, both are right"""
    path = supported(place)
    fails("ENODATA", os.setxattr, path, "user.a", b"1", os.XATTR_REPLACE)
    os.setxattr(path, "user.a", b"1", os.XATTR_CREATE)
    fails("EEXIST", os.setxattr, path, "user.a", b"2", os.XATTR_CREATE)
    equal(os.getxattr(path, "user.a"), b"1")
    os.setxattr(path, "user.a", b"longer value", os.XATTR_REPLACE)
    os.setxattr(path, "user.a", b"3")
    equal(os.getxattr(path, "user.a"), b"3")
    fails("EEXIST", os.setxattr, path, "user.a", b"4", os.XATTR_CREATE | os.XATTR_REPLACE)
    fails("ENODATA", os.setxattr, path, "user.b", b"4", os.XATTR_CREATE | os.XATTR_REPLACE)
    equal(os.getxattr(path, "user.a"), b"3")


@case
def errors(place):
    """ENODATA, ENOENT, ERANGE for a name that is too long, EOPNOTSUPP or EPERM for unknown namespaces, E2BIG"""
    path = supported(place)
    fails("ENODATA", os.getxattr, path, "user.missing")
    fails("ENODATA", os.removexattr, path, "user.missing")
    fails("ENOENT", os.getxattr, place / "missing", "user.a")
    fails("ERANGE", os.setxattr, path, "user." + "n" * 251, b"")
    fails("ERANGE", os.setxattr, path, "", b"")
    fails("EOPNOTSUPP", os.setxattr, path, "unknown.a", b"")
    fails("EOPNOTSUPP", os.setxattr, path, "nothing", b"")
    fails("EINVAL", os.setxattr, path, "user.", b"")
    fails(("E2BIG", "ENOSPC"), os.setxattr, path, "user.a", b"x" * 65_537)


@case
def sizes(place):
    """getxattr and listxattr tell sizes for no room, ERANGE for too little"""
    import ctypes

    from calls import libc

    path = os.fsencode(supported(place))
    os.setxattr(path, "user.a", b"12345")
    buffer = ctypes.create_string_buffer(100)
    equal(libc.getxattr(path, b"user.a", None, 0), 5, "size")
    equal(libc.getxattr(path, b"user.a", buffer, 4), -1, "too little room")
    equal(ctypes.get_errno(), 34, "ERANGE")
    equal(libc.getxattr(path, b"user.a", buffer, 5), 5, "just enough")
    true(libc.listxattr(path, None, 0) >= 7, "size of the list")
    equal(libc.listxattr(path, buffer, 3), -1, "too little room")
    equal(ctypes.get_errno(), 34, "ERANGE")


@case
def large(place):
    """As much as ext4 has: a value of 3,500 bytes; on a brinefs mount one of 60,000, and 64 KiB in all: ENOSPC"""
    path = supported(place)
    os.setxattr(path, "user.a", b"x" * 3_500)
    equal(os.getxattr(path, "user.a"), b"x" * 3_500)
    place.needs(place.kind == "fuse", "has other limits")
    os.setxattr(path, "user.a", b"x" * 60_000)
    equal(os.getxattr(path, "user.a"), b"x" * 60_000)
    fails("ENOSPC", os.setxattr, path, "user.b", b"x" * 10_000)
    os.setxattr(path, "user.a", b"")
    for number in range(500):
        os.setxattr(path, f"user.{number}", str(number).encode())
    equal(len([name for name in os.listxattr(path) if name.startswith("user.")]), 501, "attributes")
    equal(os.getxattr(path, "user.499"), b"499")


@case
def of_types(place):
    """user. attributes are for files and directories only (EPERM); trusted. for all types"""
    supported(place)
    os.mkdir(place / "d")
    os.setxattr(place / "d", "user.a", b"1")
    os.mkfifo(place / "fifo")
    os.symlink("f", place / "s")
    fails("EPERM", os.setxattr, place / "fifo", "user.a", b"1")
    fails("EPERM", os.setxattr, place / "s", "user.a", b"1", follow_symlinks=False)
    os.setxattr(place / "s", "user.through", b"1")
    equal(os.getxattr(place / "f", "user.through"), b"1")
    place.needs_root()
    os.setxattr(place / "s", "trusted.a", b"2", follow_symlinks=False)
    equal(os.getxattr(place / "s", "trusted.a", follow_symlinks=False), b"2")
    fails("ENODATA", os.getxattr, place / "f", "trusted.a")


@case
def permissions(place):
    """user.: as reading and writing; trusted.: CAP_SYS_ADMIN, unseen by others; security.: everyone reads"""
    place.needs_root()
    path = supported(place)
    os.setxattr(path, "user.a", b"1")
    os.setxattr(path, "trusted.a", b"2")
    os.setxattr(path, "security.test", b"3")
    equal(as_user(BOB, lambda: os.getxattr(path, "user.a")), b"1")
    fails("EACCES", as_user, BOB, lambda: os.setxattr(path, "user.a", b"4"))
    os.chmod(path, 0o622)
    fails("EACCES", as_user, BOB, lambda: os.getxattr(path, "user.a"))
    as_user(BOB, lambda: os.setxattr(path, "user.a", b"4"))
    fails(("ENODATA", "EPERM"), as_user, BOB, lambda: os.getxattr(path, "trusted.a"))
    fails("EPERM", as_user, BOB, lambda: os.setxattr(path, "trusted.a", b""))
    true("trusted.a" not in as_user(BOB, lambda: os.listxattr(path)), "trusted. isn't listed for users")
    true("trusted.a" in os.listxattr(path), "trusted. is listed for root")
    equal(as_user(BOB, lambda: os.getxattr(path, "security.test")), b"3")
    fails("EPERM", as_user, BOB, lambda: os.setxattr(path, "security.test", b""))
    sticky = place.directory("sticky", 0o1777)
    os.chown(sticky, ALICE, ALICE)
    fails("EPERM", as_user, BOB, lambda: os.setxattr(sticky, "user.a", b""))
    as_user(ALICE, lambda: os.setxattr(sticky, "user.a", b""))


@case
def follow_the_inode(place):
    """Attributes belong to the inode: all links have them, a rename and an open file keep them"""
    path = supported(place)
    os.link(path, place / "g")
    os.setxattr(path, "user.a", b"1")
    os.rename(path, place / "h")
    equal(os.getxattr(place / "g", "user.a"), b"1")
    with open(place / "g", "rb") as file:
        os.unlink(place / "g")
        os.unlink(place / "h")
        equal(os.getxattr(file.fileno(), "user.a"), b"1")
        os.setxattr(file.fileno(), "user.b", b"2")
        equal(sorted(os.listxattr(file.fileno()))[-2:], ["user.a", "user.b"])
