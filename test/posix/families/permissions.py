"""chmod(2), chown(2), access(2), umask(2), supplementary groups, capabilities, set-id bits."""
import os
import shutil
import subprocess

from calls import fallocate
from suite import ALICE, BOB, CAROL, GUESTS, STAFF, as_user, case, equal, fails, mode_of, read, tick, true, write


@case
def chmods(place):
    """chmod sets all twelve bits, and ctime; open files and mtime stay as they are"""
    path = place.file("f")
    before = os.stat(path)
    for mode in (0, 0o777, 0o1644, 0o6755, 0o4711):
        tick()
        os.chmod(path, mode)
        equal(mode_of(path), mode, "mode")
    true(os.stat(path).st_ctime_ns > before.st_ctime_ns, "ctime grows")
    equal(os.stat(path).st_mtime_ns, before.st_mtime_ns, "mtime")
    os.mkdir(place / "d")
    os.chmod(place / "d", 0o7777)
    equal(mode_of(place / "d"), 0o7777, "mode of a directory")


@case
def chmod_errors(place):
    """chmod: EPERM for who doesn't own it, ENOENT, ENOTDIR, ELOOP, EACCES"""
    path = place.file("f")
    fails("ENOENT", os.chmod, place / "missing", 0o600)
    fails("ENOTDIR", os.chmod, place / "f/x", 0o600)
    place.needs_root()
    fails("EPERM", as_user, ALICE, lambda: os.chmod(path, 0o777))
    os.chown(path, ALICE, STAFF)
    os.mkdir(place / "closed", 0o700)
    place.file("closed/f")
    fails("EACCES", as_user, ALICE, lambda: os.chmod(place / "closed/f", 0o777))
    as_user(ALICE, lambda: os.chmod(path, 0o600))


@case
def setgid_of_others(place):
    """chmod by an owner who isn't in the file's group takes setgid off; in it, it stays"""
    place.needs_root()
    path = place.file("f")
    os.chown(path, ALICE, STAFF)
    as_user(ALICE, lambda: os.chmod(path, 0o2755))
    equal(mode_of(path), 0o755, "mode")
    as_user(ALICE, lambda: os.chmod(path, 0o2755), groups=[STAFF])
    equal(mode_of(path), 0o2755, "mode")


@case
def sticky_files(place):
    """chmod by anyone may set the sticky bit of his own file and directory"""
    place.needs_root()
    path = place.file("f")
    os.chown(path, ALICE, ALICE)
    as_user(ALICE, lambda: os.chmod(path, 0o1644))
    equal(mode_of(path), 0o1644, "mode")


@case
def chowns(place):
    """chown sets owner and group; -1 leaves one; what is changed by root is free, an owner gives only groups he is in"""
    place.needs_root()
    path = place.file("f")
    os.chown(path, ALICE, STAFF)
    os.chown(path, BOB, -1)
    equal((os.stat(path).st_uid, os.stat(path).st_gid), (BOB, STAFF))
    os.chown(path, -1, GUESTS)
    equal((os.stat(path).st_uid, os.stat(path).st_gid), (BOB, GUESTS))
    as_user(BOB, lambda: os.chown(path, -1, STAFF), groups=[STAFF])
    as_user(BOB, lambda: os.chown(path, BOB, BOB))
    fails("EPERM", as_user, BOB, lambda: os.chown(path, -1, GUESTS), groups=[STAFF])
    fails("EPERM", as_user, BOB, lambda: os.chown(path, ALICE, -1))
    fails("EPERM", as_user, CAROL, lambda: os.chown(path, -1, CAROL))
    large = 0xFFFF_FFFE
    os.chown(path, large, large)
    equal((os.stat(path).st_uid, os.stat(path).st_gid), (large, large), "the largest ids")


@case
def chown_nothing(place):
    """chown(-1, -1) succeeds for the owner, and changes neither owner nor group"""
    place.needs_root()
    path = place.file("f")
    os.chown(path, ALICE, STAFF)
    as_user(ALICE, lambda: os.chown(path, -1, -1))
    equal((os.stat(path).st_uid, os.stat(path).st_gid), (ALICE, STAFF))
    os.chmod(path, 0o6755)
    fails("EPERM", as_user, BOB, lambda: os.chown(path, -1, -1))
    equal(mode_of(path), 0o6755, "mode")
    os.chown(path, -1, -1)
    equal(mode_of(path), 0o755, "mode")
    as_user(BOB, lambda: os.chown(path, -1, -1))


@case
def chown_drops_set_id(place):
    """chown takes setuid off, and setgid if the group may execute; a directory keeps them"""
    place.needs_root()
    path = place.file("f")
    for before, after in ((0o6755, 0o755), (0o4711, 0o711), (0o6744, 0o2744), (0o2644, 0o2644)):
        os.chown(path, ALICE, STAFF)
        os.chmod(path, before)
        as_user(ALICE, lambda: os.chown(path, -1, ALICE), groups=[STAFF])
        expected = after if after != 0o2744 and after != 0o2644 else mode_of(path) & 0o777 | (mode_of(path) & 0o2000)
        equal(mode_of(path) & ~0o2000, expected & ~0o2000, f"mode from {before:o}")
        if before & 0o010:
            equal(mode_of(path) & 0o2000, 0, "setgid")
    os.chmod(path, 0o6755)
    os.chown(path, BOB, BOB)
    equal(mode_of(path), 0o755, "mode after a chown by root")
    os.mkdir(place / "d")
    os.chmod(place / "d", 0o6755)
    os.chown(place / "d", ALICE, STAFF)
    equal(mode_of(place / "d"), 0o6755, "mode of a directory")


@case
def write_drops_set_id(place):
    """A write, truncate, O_TRUNC and fallocate by a user take setuid off (and setgid, if the group may execute); root's don't"""
    place.needs_root()
    path = place.file("f", b"content")
    os.chown(path, ALICE, ALICE)

    def written():
        with open(path, "r+b", buffering=0) as file:
            file.write(b"x")

    ways = {
        "write": written,
        "truncate": lambda: os.truncate(path, 3),
        "O_TRUNC": lambda: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC)),
    }
    for what, way in ways.items():
        os.chmod(path, 0o6777)
        as_user(BOB, way)
        equal(mode_of(path), 0o777, f"mode after {what}")
        equal(os.stat(path).st_mode & 0o7777, 0o777, f"mode after {what}, again")
        os.chmod(path, 0o6777)
        way()
        equal(mode_of(path), 0o6777, f"mode after root's {what}")
    os.chmod(path, 0o6767)
    as_user(BOB, written)
    equal(mode_of(path) & 0o4000, 0, "setuid")


@case
def write_drops_set_group_id(place):
    """setgid of a file whose group may not execute goes by whoever isn't in the group, and stays by its members and by root"""
    place.needs_root()
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    place.needs(place.kind == "fuse" or release >= (6, 2), "since Linux 6.2")
    path, source = place.file("f", b"content"), place.file("source", b"s")

    def changed(flags, change):
        descriptor = os.open(path, flags)
        change(descriptor)
        os.close(descriptor)

    ways = {
        "write": lambda: changed(os.O_WRONLY, lambda file: os.write(file, b"x")),
        "append": lambda: changed(os.O_WRONLY | os.O_APPEND, lambda file: os.write(file, b"x")),
        "copy": lambda: changed(os.O_WRONLY, lambda file: os.copy_file_range(os.open(source, os.O_RDONLY), file, 1)),
        "ftruncate": lambda: changed(os.O_WRONLY, lambda file: os.ftruncate(file, 3)),
        "fallocate": lambda: changed(os.O_WRONLY, lambda file: fallocate(file, 0, 0, 9_000)),
        "truncate": lambda: os.truncate(path, 3),
        "O_TRUNC": lambda: changed(os.O_WRONLY | os.O_TRUNC, lambda file: None),
    }
    os.chown(path, ALICE, STAFF)
    for what, way in ways.items():
        for who, kept in ((lambda: way(), True), (lambda: as_user(BOB, way, groups=[STAFF]), True), (lambda: as_user(BOB, way), False)):
            os.chmod(path, 0o2666)
            who()
            equal(oct(mode_of(path)), "0o2666" if kept else "0o666", f"mode after {what}")


@case
def fallocate_drops_set_id(place):
    """So does fallocate, of whatever mode; and security.capability goes with them"""
    place.needs_root()
    path = place.file("f", b"c" * 10_000)
    os.chown(path, ALICE, ALICE)
    for mode in (0, 1, 3):
        os.chmod(path, 0o6777)

        def changed():
            descriptor = os.open(path, os.O_RDWR)
            try:
                fallocate(descriptor, mode, 0, 20_000)
            except OSError as error:
                place.needs(error.errno != 95, "this file system has no fallocate")
                raise

        as_user(BOB, changed)
        equal(mode_of(path), 0o777, f"mode after fallocate with {mode}")
    os.chmod(path, 0o6777)
    changed()
    equal(mode_of(path), 0o6777, "mode after root's")


@case
def classes(place):
    """Owner, group (also a supplementary one) and others: the first class that fits decides"""
    place.needs_root()
    path = place.file("f", b"x")
    os.chown(path, ALICE, STAFF)
    expected = {
        0o400: (True, False, False, False),
        0o040: (False, True, True, False),
        0o004: (False, False, False, True),
        0o044: (False, True, True, True),
    }
    for mode, allowed in expected.items():
        os.chmod(path, mode)
        users = ((ALICE, ALICE, ()), (BOB, STAFF, ()), (BOB, BOB, (STAFF,)), (BOB, BOB, (GUESTS,)))
        for (uid, gid, groups), may in zip(users, allowed):
            body = lambda: os.access(path, os.R_OK) and read(path) == b"x"
            if may:
                true(as_user(uid, body, gid=gid, groups=groups), f"{mode:o}: {uid} {gid} {groups} may")
            else:
                fails("EACCES", as_user, uid, lambda: read(path), gid=gid, groups=groups)


@case
def access_calls(place):
    """access(2) says what would be allowed: root may all but execute what nobody may"""
    path = place.file("f", b"", 0)
    fails("ENOENT", lambda: (_ for _ in ()).throw(OSError(2, "")) if not os.access(place / "missing", os.F_OK) else 0)
    if os.geteuid() == 0:
        true(os.access(path, os.R_OK | os.W_OK), "root reads and writes")
        true(not os.access(path, os.X_OK), "root doesn't execute")
        os.chmod(path, 0o001)
        true(os.access(path, os.X_OK), "root executes")
        os.chmod(path, 0o006)
        true(as_user(ALICE, lambda: os.access(path, os.R_OK | os.W_OK)), "others")
        true(not as_user(ALICE, lambda: os.access(path, os.X_OK)), "others don't execute")


@case
def directories(place):
    """Of a directory: r lists, x passes through and finds, w and x together change"""
    place.needs_root()
    directory = place.directory("d")
    place.file("d/f", b"", 0o666)
    os.chown(directory, ALICE, ALICE)
    ways = {
        "list": lambda: os.listdir(directory),
        "find": lambda: os.stat(f"{directory}/f"),
        "make": lambda: os.close(os.open(f"{directory}/g", os.O_CREAT | os.O_EXCL | os.O_WRONLY)),
    }
    allowed = {0o400: ["list"], 0o100: ["find"], 0o500: ["list", "find"], 0o600: ["list"], 0o300: ["find", "make"]}
    for mode, may in allowed.items():
        os.chmod(directory, mode)
        for what, way in ways.items():
            if what in may:
                as_user(ALICE, way)
            else:
                fails("EACCES", as_user, ALICE, way)
    os.chmod(directory, 0o300)
    as_user(ALICE, lambda: os.unlink(f"{directory}/g"))


@case
def runs_set_id(place):
    """A setuid program runs as its owner, where the mount allows it"""
    place.needs_root()
    found = os.statvfs(place.path)
    place.needs(not found.f_flag & os.ST_NOSUID and not found.f_flag & os.ST_NOEXEC, "mounted with nosuid")
    path = place / "id"
    shutil.copy("/usr/bin/id", path)
    os.chown(path, ALICE, STAFF)
    os.chmod(path, 0o6755)
    run = lambda option: as_user(BOB, lambda: subprocess.check_output([path, option]).strip())
    equal((run("-u"), run("-g")), (str(ALICE).encode(), str(STAFF).encode()), "effective ids")


@case
def capabilities(place):
    """CAP_DAC_OVERRIDE reads and writes everything, CAP_FOWNER changes others' attributes: root without them may not"""
    place.needs_root()
    path = place.file("f", b"x", 0o600)
    os.chown(path, ALICE, ALICE)

    def without(capability, command):
        options = [f"--bounding-set=-{capability}", f"--inh-caps=-{capability}"]
        return subprocess.run(["setpriv", *options, "sh", "-c", command], capture_output=True).returncode == 0

    place.needs(shutil.which("setpriv") is not None, "no setpriv")
    true(without("chown", f"cat {path} && chmod 640 {path}"), "root with its capabilities")
    drop = "dac_override,-dac_read_search"
    true(not without(drop, f"cat {path}"), "no reading without CAP_DAC_OVERRIDE")
    true(not without("fowner", f"chmod 600 {path}"), "no chmod without CAP_FOWNER")
    true(not without("chown", f"chown 0 {path}"), "no chown without CAP_CHOWN")


@case
def file_capabilities(place):
    """security.capability is kept, and goes when the file is written or given away"""
    place.needs_root()
    path = place.file("f", b"content", 0o755)
    value = bytes.fromhex("01000002" + "00040000" + "00" * 12)  # cap_net_bind_service=ep, VFS_CAP_REVISION_2
    ways = {
        "write": lambda: write(path, b"other"),
        "chown": lambda: os.chown(path, ALICE, ALICE),
        "truncate": lambda: os.truncate(path, 1),
    }
    for what, way in ways.items():
        try:
            os.setxattr(path, "security.capability", value)
        except OSError as error:
            place.needs(False, f"no security.capability here: {error.strerror}")
        equal(os.getxattr(path, "security.capability"), value, "capability")
        way()
        fails("ENODATA", os.getxattr, path, "security.capability")
