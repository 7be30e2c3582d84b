"""utimensat(2), and the times that other calls set; statx(2)."""
import os
import time

from calls import AT_STATX_FORCE_SYNC, AT_SYMLINK_NOFOLLOW, STATX_BTIME, UTIME_NOW, UTIME_OMIT, statx, utimensat
from suite import ALICE, BOB, as_user, case, equal, fails, tick, true


def times_of(path):
    found = os.stat(path)
    return found.st_atime_ns, found.st_mtime_ns


@case
def nanoseconds(place):
    """Times have nanoseconds, before 1970 too, and far from now; ctime becomes now"""
    path = place.file("f")
    for seconds, ns in ((0, 0), (0, 1), (1, 999_999_999), (-1, 999_999_999), (1 - 2**31, 5), (2**32 + 1, 7), (2**33, 1)):
        utimensat(path, (seconds, ns), (seconds, ns))
        wanted = seconds * 10**9 + ns
        equal(times_of(path), (wanted, wanted), "times")
        true(abs(os.stat(path).st_ctime_ns - time.time_ns()) < 60 * 10**9, "ctime is now")
    os.mkdir(place / "d")
    utimensat(place / "d", (1, 2), (3, 4))
    equal(times_of(place / "d"), (1_000_000_002, 3_000_000_004), "times of a directory")


@case
def now_and_omit(place):
    """UTIME_NOW and UTIME_OMIT, each for itself; two omitted ones change nothing, ctime neither"""
    path = place.file("f")
    utimensat(path, (1, 1), (2, 2))
    tick()
    before = time.time_ns() - 10**9
    utimensat(path, (0, UTIME_NOW), (0, UTIME_OMIT))
    found = times_of(path)
    true(found[0] > before and found[1] == 2_000_000_002, "atime now, mtime omitted")
    utimensat(path, (5, 5), (0, UTIME_NOW))
    found = times_of(path)
    true(found[0] == 5_000_000_005 and found[1] > before, "atime given, mtime now")
    ctime = os.stat(path).st_ctime_ns
    tick()
    utimensat(path, (0, UTIME_OMIT), (0, UTIME_OMIT))
    equal((times_of(path), os.stat(path).st_ctime_ns), (found, ctime), "nothing has changed")
    os.utime(path)
    found = times_of(path)
    true(found[0] == found[1] and found[0] > before, "both now are the same")


@case
def errors(place):
    """utimensat: EINVAL for nanoseconds out of range, ENOENT, ENOTDIR; EPERM and EACCES for who isn't the owner"""
    path = place.file("f", b"", 0o644)
    fails("EINVAL", utimensat, path, (0, 10**9), (0, 0))
    fails("EINVAL", utimensat, path, (0, 0), (0, -1))
    fails("ENOENT", utimensat, place / "missing", (0, 0), (0, 0))
    fails("ENOTDIR", utimensat, place / "f/x", (0, 0), (0, 0))
    place.needs_root()
    fails("EPERM", as_user, BOB, lambda: utimensat(path, (0, 0), (0, 0)))
    fails("EACCES", as_user, BOB, lambda: os.utime(path))
    os.chmod(path, 0o666)
    as_user(BOB, lambda: os.utime(path))
    fails("EPERM", as_user, BOB, lambda: utimensat(path, (0, 0), (0, 0)))
    fails("EPERM", as_user, BOB, lambda: utimensat(path, (0, UTIME_NOW), (0, UTIME_OMIT)))
    as_user(BOB, lambda: utimensat(path, (0, UTIME_OMIT), (0, UTIME_OMIT)))
    os.chown(path, ALICE, ALICE)
    os.chmod(path, 0)
    as_user(ALICE, lambda: utimensat(path, (1, 1), (1, 1)))


@case
def data(place):
    """write and truncate set mtime and ctime alike; a write of nothing and a read don't"""
    path = place.file("f", b"content")
    with open(path, "r+b", buffering=0) as file:
        for change in (lambda: file.write(b"x"), lambda: file.truncate(100), lambda: os.truncate(path, 100)):
            before = os.stat(path)
            tick()
            change()
            after = os.stat(path)
            true(after.st_mtime_ns > before.st_mtime_ns, "mtime grows")
            equal(after.st_mtime_ns, after.st_ctime_ns, "mtime and ctime")
            equal(after.st_atime_ns, before.st_atime_ns, "atime")
        before = os.stat(path)
        tick()
        file.write(b"")
        file.seek(0)
        file.read(1)
        after = os.stat(path)
        equal((after.st_mtime_ns, after.st_ctime_ns), (before.st_mtime_ns, before.st_ctime_ns), "mtime and ctime")


@case
def reading(place):
    """A read sets atime (relatime: if it isn't later than mtime, or a day old), unless mounted with noatime"""
    place.needs(not os.statvfs(place.path).f_flag & os.ST_NOATIME, "mounted with noatime")
    path = place.file("f", b"content")
    utimensat(path, (1000, 0), (2000, 0))
    ctime = os.stat(path).st_ctime_ns
    with open(path, "rb") as file:
        file.read()
    found = os.stat(path)
    true(abs(found.st_atime_ns - time.time_ns()) < 60 * 10**9, "atime is now")
    equal((found.st_mtime_ns, found.st_ctime_ns), (2000 * 10**9, ctime), "mtime and ctime")
    utimensat(path, (1000, 0), (2000, 0))
    descriptor = os.open(path, os.O_RDONLY | os.O_NOATIME)
    os.read(descriptor, 1)
    equal(os.stat(path).st_atime_ns, 1000 * 10**9, "atime with O_NOATIME")
    os.close(descriptor)
    os.mkdir(place / "d")
    place.file("d/f")
    utimensat(place / "d", (1000, 0), (2000, 0))
    os.listdir(place / "d")
    true(os.stat(place / "d").st_atime_ns > 2000 * 10**9, "atime of a directory that was read")


@case
def following(place):
    """Reading or following a symlink sets its atime, and no other time; lstat doesn't"""
    place.needs(not os.statvfs(place.path).f_flag & os.ST_NOATIME, "mounted with noatime")
    place.file("f", b"content")
    for follow in (os.readlink, os.stat):
        link = place / f"link {follow.__name__}"
        os.symlink("f", link)
        utimensat(link, (1000, 0), (2000, 0), AT_SYMLINK_NOFOLLOW)
        before = os.lstat(link)
        equal(before.st_atime_ns, 1000 * 10**9, "atime before")
        tick()
        follow(link)
        after = os.lstat(link)
        true(abs(after.st_atime_ns - time.time_ns()) < 60 * 10**9, f"atime after {follow.__name__} is now")
        equal((after.st_mtime_ns, after.st_ctime_ns), (before.st_mtime_ns, before.st_ctime_ns), "mtime and ctime")


@case
def birth(place):
    """statx tells the birth time, which no call changes; atime starts as it"""
    before = time.time_ns() - 10**9
    path = place.file("f")
    found = statx(path)
    place.needs(found["mask"] & STATX_BTIME, "no birth time here")
    # A network file system has one clock, which may be a little ahead of ours.
    true(before < found["btime_ns"] < time.time_ns() + 10**9, "birth is now")
    utimensat(path, (1, 1), (1, 1))
    os.rename(path, place / "g")
    os.truncate(place / "g", 1000)
    again = statx(place / "g", flags=AT_STATX_FORCE_SYNC)
    equal(again["btime_ns"], found["btime_ns"], "birth time")
    equal(again["size"], 1000, "size")


@case
def forward(place):
    """ctime never goes back and never stands still over changes that follow each other"""
    path = place.file("f")
    last = os.stat(path).st_ctime_ns
    for round in range(200):
        os.chmod(path, 0o600 + round % 2)
        found = os.stat(path).st_ctime_ns
        true(found >= last, "ctime doesn't go back")
        last = found
    with open(path, "r+b", buffering=0) as file:
        for _round in range(200):
            file.write(b"x")
            found = os.stat(path)
            true(found.st_ctime_ns >= last and found.st_mtime_ns == found.st_ctime_ns, "mtime with ctime")
            last = found.st_ctime_ns


@case
def creation_times(place):
    """What was just made has one time in atime, mtime and ctime, which is also its parent's mtime"""
    tick()
    os.close(os.open(place / "f", os.O_CREAT | os.O_WRONLY))
    found, parent = os.stat(place / "f"), os.stat(place.path)
    equal((found.st_atime_ns, found.st_mtime_ns), (found.st_ctime_ns, found.st_ctime_ns), "times")
    true(abs(parent.st_mtime_ns - found.st_mtime_ns) < 10**8, "the parent's mtime")
    equal(parent.st_mtime_ns, parent.st_ctime_ns, "the parent's times")
