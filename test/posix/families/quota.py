"""
EDQUOT: of every call that may go over a limit, and of none that doesn't.

Who runs the suite says how a limit is set, because there is no system call for it that all file systems have:
BRINE_TEST_QUOTA is a command that is given `directory PATH BYTES INODES` or `user UID BYTES INODES`, and sets a limit for
the empty directory, or for the user on the file system. Limits must hold for root, too. Without it these cases are skipped.
"""
import errno
import mmap
import os
import subprocess
import time

from calls import O_TMPFILE, fallocate, link_open, renameat2
from suite import ALICE, BOB, as_user, case, equal, exists, fails, read, true, write

KIB = 1024
NO_LIMIT = 1 << 30
"""What is deleted may be given back a moment later: when its last close has gone through."""
PATIENCE_SECONDS = 10


def limit(place, kind, subject, byte_count, inodes):
    command = os.environ.get("BRINE_TEST_QUOTA", "")
    place.needs(command != "", "no command that sets a quota (BRINE_TEST_QUOTA)")
    subprocess.run([command, kind, str(subject), str(byte_count), str(inodes)], check=True, capture_output=True)


def limited(place, byte_count=NO_LIMIT, inodes=NO_LIMIT):
    """A directory with a quota; it counts itself as an inode."""
    path = place.directory("limited")
    limit(place, "directory", path, byte_count, inodes)
    return path


def filled(path):
    """Writes until nothing more fits; returns the bytes."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    total = 0
    try:
        while True:
            total += os.write(descriptor, b"x" * (4 * KIB))
    except OSError as error:
        equal(errno.errorcode[error.errno], "EDQUOT")
        return total
    finally:
        os.close(descriptor)


def soon(call, *values):
    """The call, again and again while it fails for the quota."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call(*values)
        except OSError as error:
            if error.errno != errno.EDQUOT or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@case
def writes(place):
    """write, pwrite, writev, O_APPEND: what fits in part is short, then EDQUOT; what was written is there"""
    path = limited(place, 64 * KIB)
    file = os.path.join(path, "f")
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    equal(os.write(descriptor, b"a" * 60 * KIB), 60 * KIB)
    written = os.pwrite(descriptor, b"b" * 8 * KIB, 60 * KIB)
    equal(written, 4 * KIB, "a write of which half fits")
    for call in (
        lambda: os.pwrite(descriptor, b"c", 64 * KIB),
        lambda: os.pwritev(descriptor, [b"c", b"c"], 64 * KIB),
        lambda: os.write(os.open(file, os.O_WRONLY | os.O_APPEND), b"c"),
        lambda: os.write(os.open(os.path.join(path, "g"), os.O_WRONLY | os.O_CREAT), b"c"),
    ):
        fails("EDQUOT", call)
    equal(os.pwrite(descriptor, b"d" * KIB, 1000), KIB, "a write over what is there")
    content = read(file)
    equal(len(content), 64 * KIB)
    equal(content[-1:], b"b")


@case
def room_comes_back(place):
    """O_TRUNC, ftruncate, unlink and punching give room at once, or when the last descriptor is closed"""
    path = limited(place, 256 * KIB)
    file = os.path.join(path, "f")
    for empty in (
        lambda: os.close(os.open(file, os.O_WRONLY | os.O_TRUNC)),
        lambda: os.truncate(file, 0),
        lambda: os.unlink(file),
    ):
        equal(soon(filled, file), 256 * KIB)
        empty()
    equal(soon(filled, file), 256 * KIB)
    descriptor = os.open(file, os.O_RDONLY)
    os.unlink(file)
    fails("EDQUOT", write, os.path.join(path, "g"), b"g")
    os.close(descriptor)
    soon(write, os.path.join(path, "g"), b"g")


@case
def lengthening(place):
    """fallocate and copy_file_range count what they add; truncating to a hole is not refused without a reason"""
    path = limited(place, 64 * KIB)
    file = os.path.join(path, "f")
    write(file, b"x")
    descriptor = os.open(file, os.O_RDWR)
    fails("EDQUOT", fallocate, descriptor, 0, 0, 256 * KIB)
    equal(os.fstat(descriptor).st_size, 1, "size")
    fallocate(descriptor, 0, 0, 32 * KIB)
    equal(os.fstat(descriptor).st_size, 32 * KIB)
    source = os.open(place.file("source", b"s" * 256 * KIB), os.O_RDONLY)
    target = os.open(os.path.join(path, "copy"), os.O_RDWR | os.O_CREAT)
    copied = os.copy_file_range(source, target, 256 * KIB)
    true(0 < copied <= 32 * KIB, f"{copied} bytes copied into 32 KiB")
    fails("EDQUOT", lambda: [os.copy_file_range(source, target, 256 * KIB) for _ in range(100)])
    used = sum(os.stat(os.path.join(path, name)).st_blocks * 512 for name in os.listdir(path))
    true(used <= 64 * KIB, f"{used} bytes are used")
    os.unlink(file)
    os.unlink(os.path.join(path, "copy"))
    sparse = os.open(os.path.join(path, "sparse"), os.O_RDWR | os.O_CREAT)
    os.ftruncate(sparse, 1 << 40)
    equal(os.fstat(sparse).st_blocks, 0, "blocks of a hole")


@case
def mapped(place):
    """Mapped memory that doesn't fit: EDQUOT from msync"""
    place.needs_shared_memory()
    path = limited(place, 64 * KIB)
    descriptor = os.open(os.path.join(path, "f"), os.O_RDWR | os.O_CREAT)
    os.ftruncate(descriptor, 64 << 20)
    memory = mmap.mmap(descriptor, 64 << 20)
    true(filled(os.path.join(path, "g")) > 0, "something fits")
    memory[32 << 20] = 1
    try:
        memory.flush()
    except OSError as error:
        true(error.errno in (errno.EDQUOT, errno.EIO), f"msync failed with {errno.errorcode[error.errno]}")
        return
    raise AssertionError("msync said nothing of what didn't fit")


@case
def names(place):
    """What makes an inode: open with O_CREAT, O_TMPFILE, mkdir, mknod, symlink; nothing of it is left when it fails"""
    path = limited(place, inodes=3)
    inside = lambda name: os.path.join(path, name)
    os.mkdir(inside("d"))
    write(inside("f"), b"content")
    for call in (
        lambda: os.open(inside("new"), os.O_WRONLY | os.O_CREAT),
        lambda: os.open(inside("new"), os.O_WRONLY | os.O_CREAT | os.O_EXCL),
        lambda: os.open(path, os.O_RDWR | O_TMPFILE),
        lambda: os.mkdir(inside("new")),
        lambda: os.mkdir(inside("d/new")),
        lambda: os.mkfifo(inside("new")),
        lambda: os.mknod(inside("new"), 0o100644),
        lambda: os.symlink("f", inside("new")),
    ):
        fails("EDQUOT", call)
    equal(sorted(os.listdir(path)), ["d", "f"])
    equal(os.listdir(inside("d")), [])
    os.rmdir(inside("d"))
    soon(os.symlink, "f", inside("s"))
    os.unlink(inside("s"))
    descriptor = soon(os.open, path, os.O_RDWR | O_TMPFILE)
    link_open(descriptor, inside("was unnamed"))
    fails("EDQUOT", os.mkdir, inside("new"))


@case
def full_but_usable(place):
    """With all used up: reading, renaming, linking, chmod, attributes, opening what is there, overwriting and removing work"""
    path = limited(place, 64 * KIB, 3)
    inside = lambda name: os.path.join(path, name)
    os.mkdir(inside("d"))
    equal(filled(inside("f")), 64 * KIB)
    os.close(os.open(inside("f"), os.O_RDWR | os.O_CREAT))
    os.rename(inside("f"), inside("d/g"))
    os.link(inside("d/g"), inside("h"))
    renameat2(inside("h"), inside("d"), 2)
    equal(os.stat(inside("h/g")).st_nlink, 2)
    os.chmod(inside("d"), 0o600)
    os.utime(inside("d"))
    os.setxattr(inside("d"), "user.note", b"n" * 1000)
    os.setxattr(inside("h"), "user.note", b"n" * 1000)
    descriptor = os.open(inside("d"), os.O_RDWR)
    equal(os.pwrite(descriptor, b"y" * 64 * KIB, 0), 64 * KIB)
    os.fsync(descriptor)
    equal(read(inside("h/g")), b"y" * 64 * KIB)
    os.unlink(inside("d"))
    os.rename(inside("h/g"), inside("i"))
    os.rmdir(inside("h"))


@case
def over_the_border(place):
    """rename of a file into a directory with a quota counts it, and is refused whole; links and directories don't cross"""
    path = limited(place, 64 * KIB, 4)
    inside = lambda name: os.path.join(path, name)
    large, small = place.file("large", b"l" * 100 * KIB), place.file("small", b"s" * 60 * KIB)
    fails("EDQUOT", os.rename, large, inside("large"))
    true(exists(large) and not exists(inside("large")), "it stays where it was")
    os.rename(small, inside("small"))
    fails("EDQUOT", os.pwrite, os.open(inside("small"), os.O_WRONLY), b"x" * 8 * KIB, 64 * KIB)
    other = place.file("other", b"o" * 60 * KIB)
    os.rename(inside("small"), place / "out")
    soon(os.rename, other, inside("other"))
    fails("EXDEV", os.link, place / "out", inside("link"))
    fails("EXDEV", os.link, inside("other"), place / "link")
    os.mkdir(place / "d")
    write(place / "d/f", b"x")
    fails("EXDEV", os.rename, place / "d", inside("d"))
    equal(read(place / "d/f"), b"x")
    os.unlink(inside("other"))
    last = place.file("last", b"r" * 60 * KIB)
    soon(os.rename, last, inside("last"))
    equal(read(inside("last")), b"r" * 60 * KIB)


@case
def owners(place):
    """A user's limit: for what he makes, and for what is given to him by chown"""
    place.needs_root()
    os.chmod(place.path, 0o777)
    limit(place, "user", BOB, 64 * KIB, 3)
    try:
        own = place / "own"
        equal(as_user(BOB, lambda: filled(own)), 64 * KIB)
        given = place.file("given", b"g" * 8 * KIB)
        fails("EDQUOT", os.chown, given, BOB, -1)
        equal(os.stat(given).st_uid, 0, "owner")
        as_user(ALICE, lambda: write(place / "hers", b"h" * 100 * KIB))
        os.chown(own, ALICE, -1)
        soon(os.chown, given, BOB, -1)
        for name in ("one", "two"):
            as_user(BOB, lambda: write(place / name, b""))
            # Given by root it is of another group: whether what it takes is on disk, or only on its way, makes no difference.
            os.fsync(os.open(place / name, os.O_RDONLY))
        fails("EDQUOT", as_user, BOB, lambda: os.mkdir(place / "three"))
        fails("EDQUOT", os.chown, place / "hers", BOB, -1)
    finally:
        limit(place, "user", BOB, NO_LIMIT, NO_LIMIT)
