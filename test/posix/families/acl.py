"""POSIX ACLs, access and default (acl(5)), as the attributes system.posix_acl_*; getfacl(1), setfacl(1)."""
import os
import shutil
import stat
import struct
import subprocess

from suite import ALICE, BOB, CAROL, GUESTS, STAFF, as_user, case, equal, fails, mode_of, read, true

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NOBODY = 0xFFFFFFFF


def acl(*entries):
    """Entries are (tag, permissions) or (tag, permissions, id); as linux/posix_acl_xattr.h has them."""
    body = b"".join(struct.pack("<HHI", tag, bits, *(rest or [NOBODY])) for tag, bits, *rest in entries)
    return struct.pack("<I", 2) + body


def parsed(value):
    equal(struct.unpack_from("<I", value)[0], 2, "version")
    return [
        (tag, bits) if number == NOBODY else (tag, bits, number)
        for tag, bits, number in struct.iter_unpack("<HHI", value[4:])
    ]


def with_bob(bits=6, mask=7, others=0):
    return ((USER_OBJ, 6), (USER, bits, BOB), (GROUP_OBJ, 4), (MASK, mask), (OTHER, others))


def supported(place):
    place.needs_root()
    path = place.file("f", b"x", 0o640)
    os.chown(path, ALICE, STAFF)
    try:
        os.setxattr(path, ACCESS, acl((USER_OBJ, 6), (GROUP_OBJ, 4), (OTHER, 0)))
    except OSError as error:
        place.needs(error.errno != 95, "no ACLs here")
        raise
    return path


@case
def minimal(place):
    """An ACL of the three classes is the mode, and isn't kept as an attribute"""
    path = supported(place)
    os.setxattr(path, ACCESS, acl((USER_OBJ, 7), (GROUP_OBJ, 5), (OTHER, 1)))
    equal(mode_of(path), 0o751, "mode")
    fails("ENODATA", os.getxattr, path, ACCESS)
    true(ACCESS not in os.listxattr(path), "it isn't listed")


@case
def named_entries(place):
    """A named user and group have what their entry and the mask allow; the mode's group bits show the mask"""
    path = supported(place)
    os.setxattr(path, ACCESS, acl(*with_bob()))
    equal(mode_of(path), 0o670, "mode")
    equal(parsed(os.getxattr(path, ACCESS)), list(with_bob()))
    as_user(BOB, lambda: os.close(os.open(path, os.O_RDWR)))
    fails("EACCES", as_user, CAROL, lambda: os.open(path, os.O_RDONLY))
    os.setxattr(path, ACCESS, acl(*with_bob(mask=4)))
    equal(as_user(BOB, lambda: read(path)), b"x")
    fails("EACCES", as_user, BOB, lambda: os.open(path, os.O_RDWR))
    entries = ((USER_OBJ, 6), (GROUP_OBJ, 0), (GROUP, 6, GUESTS), (MASK, 6), (OTHER, 4))
    os.setxattr(path, ACCESS, acl(*entries))
    as_user(BOB, lambda: os.close(os.open(path, os.O_RDWR)), groups=[GUESTS])
    fails("EACCES", as_user, BOB, lambda: read(path), groups=[STAFF])
    equal(as_user(BOB, lambda: read(path)), b"x")


@case
def chmod_changes_mask(place):
    """chmod changes the owner's, the mask's and the others' entries, and leaves named ones"""
    path = supported(place)
    os.setxattr(path, ACCESS, acl(*with_bob()))
    os.chmod(path, 0o600)
    equal(parsed(os.getxattr(path, ACCESS)), list(with_bob(mask=0)))
    fails("EACCES", as_user, BOB, lambda: read(path))
    os.chmod(path, 0o660)
    as_user(BOB, lambda: os.close(os.open(path, os.O_RDWR)))


@case
def removed(place):
    """Without its ACL a file has its mode: the mask's bits are the group's"""
    path = supported(place)
    os.setxattr(path, ACCESS, acl(*with_bob()))
    os.removexattr(path, ACCESS)
    equal(mode_of(path), 0o670, "mode")
    fails("EACCES", as_user, BOB, lambda: read(path))
    fails("ENODATA", os.getxattr, path, ACCESS)


@case
def nothing_to_remove(place):
    """Removing an ACL that isn't there, or setting an empty one, is right and changes nothing"""
    path = supported(place)
    for name in (ACCESS, DEFAULT):
        os.removexattr(path, name)
    os.setxattr(path, ACCESS, struct.pack("<I", 2))
    equal(mode_of(path), 0o640, "mode")


@case
def inherited(place):
    """A directory's default ACL is the access ACL of what is made in it, less the mode asked for; umask is left aside"""
    supported(place)
    os.mkdir(place / "d")
    os.umask(0o077)
    entries = ((USER_OBJ, 7), (USER, 7, BOB), (GROUP_OBJ, 5), (MASK, 7), (OTHER, 4))
    os.setxattr(place / "d", DEFAULT, acl(*entries))
    equal(parsed(os.getxattr(place / "d", DEFAULT)), list(entries))
    equal(mode_of(place / "d"), 0o755, "mode of the directory itself")
    os.close(os.open(place / "d/f", os.O_CREAT | os.O_WRONLY, 0o666))
    equal(mode_of(place / "d/f"), 0o664, "mode")
    wanted = [(USER_OBJ, 6), (USER, 7, BOB), (GROUP_OBJ, 5), (MASK, 6), (OTHER, 4)]
    equal(parsed(os.getxattr(place / "d/f", ACCESS)), wanted)
    fails("ENODATA", os.getxattr, place / "d/f", DEFAULT)
    os.mkdir(place / "d/sub", 0o770)
    equal(parsed(os.getxattr(place / "d/sub", DEFAULT)), list(entries))
    equal(mode_of(place / "d/sub"), 0o770, "mode of a directory")
    os.mknod(place / "d/fifo", stat.S_IFIFO | 0o600)
    equal(mode_of(place / "d/fifo"), 0o600, "mode of a fifo")
    os.symlink("f", place / "d/s")
    equal(mode_of(place / "d/s"), 0o777, "mode of a symlink")
    as_user(BOB, lambda: os.close(os.open(place / "d/f", os.O_RDWR)))


@case
def inherited_minimal(place):
    """A default ACL of three classes gives a mode; without one the umask counts"""
    supported(place)
    os.mkdir(place / "d")
    os.umask(0o077)
    os.setxattr(place / "d", DEFAULT, acl((USER_OBJ, 7), (GROUP_OBJ, 5), (OTHER, 5)))
    os.close(os.open(place / "d/f", os.O_CREAT | os.O_WRONLY, 0o666))
    equal(mode_of(place / "d/f"), 0o644, "mode")
    fails("ENODATA", os.getxattr, place / "d/f", ACCESS)
    os.removexattr(place / "d", DEFAULT)
    os.close(os.open(place / "d/g", os.O_CREAT | os.O_WRONLY, 0o666))
    equal(mode_of(place / "d/g"), 0o600, "mode without a default ACL")
    fails("ENODATA", os.getxattr, place / "d", DEFAULT)


@case
def errors(place):
    """EINVAL for a broken ACL, EACCES for a default one of a file, EPERM for who doesn't own it, EOPNOTSUPP of symlinks"""
    path = supported(place)
    fails("EINVAL", os.setxattr, path, ACCESS, b"\x02\0\0\0abc")
    fails(("EINVAL", "EOPNOTSUPP"), os.setxattr, path, ACCESS, b"\x07\0\0\0" + acl(*with_bob())[4:])
    fails("EINVAL", os.setxattr, path, ACCESS, acl((USER_OBJ, 6), (GROUP_OBJ, 4)))
    fails("EINVAL", os.setxattr, path, ACCESS, acl((USER_OBJ, 6), (USER, 6, BOB), (GROUP_OBJ, 4), (OTHER, 0)))
    fails("EACCES", os.setxattr, path, DEFAULT, acl(*with_bob()))
    fails("EPERM", as_user, BOB, lambda: os.setxattr(path, ACCESS, acl(*with_bob())))
    as_user(ALICE, lambda: os.setxattr(path, ACCESS, acl(*with_bob())))
    os.symlink("f", place / "s")
    fails("EOPNOTSUPP", os.setxattr, place / "s", ACCESS, acl(*with_bob()), follow_symlinks=False)


@case
def setgid_goes(place):
    """Setting an ACL by an owner who isn't in the file's group takes setgid off"""
    path = supported(place)
    os.chmod(path, 0o2770)
    as_user(ALICE, lambda: os.setxattr(path, ACCESS, acl(*with_bob())))
    equal(mode_of(path), 0o670, "mode")


@case
def tools(place):
    """setfacl and getfacl do what they say, and cp -p and tar --acls keep it"""
    supported(place)
    for tool in ("setfacl", "getfacl", "tar"):
        place.needs(shutil.which(tool) is not None, f"no {tool}")
    os.mkdir(place / "d")
    place.file("d/f")
    run = lambda *words: subprocess.run(words, check=True, cwd=place.path, capture_output=True, text=True).stdout
    run("setfacl", "-R", "-m", f"u:{BOB}:rwX,g:{GUESTS}:rX,d:u:{BOB}:rwx", "d")
    shown = run("getfacl", "-R", "-n", "--omit-header", "d")
    true(f"user:{BOB}:rw-" in shown and f"default:user:{BOB}:rwx" in shown, shown)
    run("cp", "-a", "d", "copy")
    equal(run("getfacl", "-R", "-n", "--omit-header", "copy"), shown, "the copy")
    run("tar", "--acls", "--xattrs", "-cf", "d.tar", "d")
    os.mkdir(place / "out")
    run("tar", "--acls", "--xattrs", "-xf", "d.tar", "-C", "out")
    equal(run("getfacl", "-R", "-n", "--omit-header", "out/d"), shown, "out of the archive")
    run("setfacl", "-R", "-b", "d")
    true("user:" + str(BOB) not in run("getfacl", "-R", "-n", "d"), "removed")
