"""open(2), openat(2), creat(2) and the flags they take."""
import os
import stat

from calls import O_TMPFILE, link_open
from suite import ALICE, BOB, STAFF, as_user, case, equal, exists, fails, mode_of, read, tick, true


@case
def creates(place):
    """O_CREAT makes a file with mode & ~umask, set-id and sticky bits too, owned by the caller"""
    os.umask(0o027)
    for mode in (0o666, 0o777, 0, 0o4755, 0o2775, 0o1644):
        path = place / f"{mode:o}"
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, mode)
        equal(mode_of(path), mode & ~0o027, f"mode {mode:o}")
        os.write(descriptor, b"x")  # also if the mode would not allow it
        os.close(descriptor)
    if os.geteuid() == 0:
        os.chmod(place.path, 0o777)
        as_user(ALICE, lambda: os.close(os.open(place / "hers", os.O_CREAT | os.O_WRONLY)), gid=STAFF)
        found = os.stat(place / "hers")
        equal((found.st_uid, found.st_gid), (ALICE, STAFF), "owner")


@case
def group_of_directory(place):
    """In a setgid directory a file gets the directory's group; setgid of a group that the caller isn't in goes"""
    place.needs_root()
    parent = place.directory("parent")
    os.chown(parent, ALICE, STAFF)
    os.chmod(parent, 0o2777)
    as_user(ALICE, lambda: os.close(os.open(f"{parent}/f", os.O_CREAT | os.O_WRONLY, 0o2775)), umask=0)
    equal((os.stat(f"{parent}/f").st_gid, mode_of(f"{parent}/f")), (STAFF, 0o775), "group and mode")
    as_user(ALICE, lambda: os.mknod(f"{parent}/m", 0o2775 | stat.S_IFREG), umask=0)
    equal((os.stat(f"{parent}/m").st_gid, mode_of(f"{parent}/m")), (STAFF, 0o775), "group and mode by mknod")


@case
def exclusive(place):
    """O_EXCL: EEXIST for whatever has the name"""
    place.file("file")
    place.directory("directory")
    os.symlink("nowhere", place / "dangling")
    for name in ("file", "directory", "dangling"):
        fails("EEXIST", os.open, place / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.close(os.open(place / "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY))


@case
def truncates(place):
    """O_TRUNC empties a file and sets its times, also if it was empty; not with EXCL or on a failure"""
    path = place.file("f", b"content")
    for _round in range(2):
        before = os.stat(path)
        tick()
        os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
        after = os.stat(path)
        equal(after.st_size, 0, "size")
        true(after.st_mtime_ns > before.st_mtime_ns and after.st_ctime_ns > before.st_ctime_ns, "times grow")
    path = place.file("g", b"content")
    fails("EEXIST", os.open, path, os.O_WRONLY | os.O_TRUNC | os.O_CREAT | os.O_EXCL)
    equal(read(path), b"content")


@case
def errors(place):
    """ENOENT, ENOTDIR, EISDIR for writing, O_CREAT and O_TRUNC on directories, ENAMETOOLONG, ENXIO, EINVAL"""
    place.file("file")
    place.directory("directory")
    os.mkfifo(place / "fifo")
    fails("ENOENT", os.open, place / "missing", os.O_RDONLY)
    fails("ENOENT", os.open, place / "missing/x", os.O_CREAT | os.O_WRONLY)
    fails("ENOENT", os.open, "", os.O_RDONLY)
    fails("ENOTDIR", os.open, place / "file/x", os.O_RDONLY)
    fails("ENOTDIR", os.open, place / "file", os.O_RDONLY | os.O_DIRECTORY)
    fails("ENOTDIR", os.open, place / "file/", os.O_RDONLY)
    fails("EISDIR", os.open, place / "directory", os.O_WRONLY)
    fails("EISDIR", os.open, place / "directory", os.O_RDWR)
    fails("EISDIR", os.open, place / "directory", os.O_RDONLY | os.O_CREAT)
    fails("EISDIR", os.open, place / "directory", os.O_RDONLY | os.O_TRUNC)
    fails("EISDIR", os.open, place / "new/", os.O_WRONLY | os.O_CREAT)
    fails("ENAMETOOLONG", os.open, place / ("n" * 256), os.O_CREAT | os.O_WRONLY)
    fails("ENAMETOOLONG", os.open, "/".join([place.path, *["x" * 100] * 45]), os.O_RDONLY)
    fails("ENXIO", os.open, place / "fifo", os.O_WRONLY | os.O_NONBLOCK)
    fails("EINVAL", os.open, place / "directory", os.O_CREAT | os.O_DIRECTORY)


@case
def permission_errors(place):
    """EACCES for what the mode forbids, on the file and on each directory before it; the owner's class comes first"""
    place.needs_root()
    path = place.file("f", b"x", 0o044)
    os.chown(path, ALICE, ALICE)
    fails("EACCES", as_user, ALICE, lambda: os.open(path, os.O_RDONLY))
    as_user(BOB, lambda: os.open(path, os.O_RDONLY))
    fails("EACCES", as_user, BOB, lambda: os.open(path, os.O_WRONLY))
    fails("EACCES", as_user, BOB, lambda: os.open(path, os.O_RDONLY | os.O_TRUNC))
    fails("EACCES", as_user, BOB, lambda: os.open(place / "new", os.O_CREAT | os.O_WRONLY))
    closed = place.directory("closed", 0o700)
    place.file("closed/f", b"", 0o666)
    fails("EACCES", as_user, BOB, lambda: os.open(f"{closed}/f", os.O_RDONLY))
    os.chmod(closed, 0o711)
    as_user(BOB, lambda: os.open(f"{closed}/f", os.O_RDWR))
    fails("EACCES", as_user, BOB, lambda: os.open(closed, os.O_RDONLY))


@case
def no_atime(place):
    """O_NOATIME is for the owner only: EPERM"""
    place.needs_root()
    path = place.file("f", b"x", 0o666)
    os.chown(path, ALICE, ALICE)
    as_user(ALICE, lambda: os.open(path, os.O_RDONLY | os.O_NOATIME))
    fails("EPERM", as_user, BOB, lambda: os.open(path, os.O_RDONLY | os.O_NOATIME))


@case
def modes_of_access(place):
    """A descriptor reads and writes as it was opened: EBADF else, whatever the mode becomes"""
    path = place.file("f", b"content")
    reader, writer = os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY)
    fails("EBADF", os.write, reader, b"x")
    fails("EBADF", os.read, writer, 1)
    fails(("EINVAL", "EBADF"), os.ftruncate, reader, 0)
    os.chmod(path, 0)
    equal(os.read(reader, 7), b"content")
    os.write(writer, b"C")
    path_only = os.open(path, os.O_PATH)
    fails("EBADF", os.read, path_only, 1)
    fails("EBADF", os.fchmod, path_only, 0o600)
    equal(os.fstat(path_only).st_size, 7, "size")


@case
def executing(place):
    """ETXTBSY: what runs can't be opened for writing; a file open for writing can't be run"""
    import shutil
    import subprocess

    path = place / "program"
    shutil.copy("/bin/sleep", path)
    os.chmod(path, 0o755)
    running = subprocess.Popen([path, "30"])
    try:
        fails("ETXTBSY", os.open, path, os.O_WRONLY)
        fails("ETXTBSY", os.truncate, path, 0)
        os.rename(path, place / "moved")
        os.rename(place / "moved", path)
    finally:
        running.kill()
        running.wait()
    writer = os.open(path, os.O_WRONLY)
    fails("ETXTBSY", subprocess.run, [path, "0"])
    os.close(writer)
    subprocess.run([path, "0"], check=True)
    os.chmod(path, 0o644)
    fails("EACCES", subprocess.run, [path, "0"])


@case
def temporary(place):
    """O_TMPFILE: a file without a name, that linkat gives one; with O_EXCL it gets none (ENOENT)"""
    fails(("EISDIR", "EINVAL"), os.open, place.path, O_TMPFILE | os.O_RDONLY)
    fails("ENOENT", os.open, place / "missing", O_TMPFILE | os.O_RDWR)
    descriptor = os.open(place.path, O_TMPFILE | os.O_RDWR, 0o640)
    equal(os.listdir(place.path), [])
    equal(os.fstat(descriptor).st_nlink, 0, "links")
    equal(os.fstat(descriptor).st_mode & 0o7777, 0o640, "mode")
    os.write(descriptor, b"content")
    link_open(descriptor, place / "named")
    equal(read(place / "named"), b"content")
    equal(os.stat(place / "named").st_nlink, 1, "links")
    equal(os.stat(place / "named").st_ino, os.fstat(descriptor).st_ino, "inode")
    fails("EEXIST", link_open, descriptor, place / "named")
    link_open(descriptor, place / "second")
    equal(os.fstat(descriptor).st_nlink, 2, "links")
    closed = os.open(place.path, O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o640)
    fails("ENOENT", link_open, closed, place / "x")


@case
def names(place):
    """Any bytes but / and NUL make a name, of up to 255 bytes; it is listed as it was given"""
    names = [bytes([byte]) for byte in range(1, 256) if byte not in (0x2E, 0x2F)]
    names += [b"x" * 255, b"...", b"  ", b"\xc3\xa9", b"e\xcc\x81", b"\xff" * 255, b"CASE", b"case"]
    directory = os.fsencode(place.path)
    for name in names:
        os.close(os.open(os.path.join(directory, name), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    equal(sorted(os.listdir(directory)), sorted(names), "names")
    for name in names:
        os.unlink(os.path.join(directory, name))
    equal(os.listdir(directory), [])
    true(not exists(place / "x"), "gone")
