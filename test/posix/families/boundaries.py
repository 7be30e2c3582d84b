"""Edges that other families leave out: offsets, descriptors' own state, slashes behind names, what statx(2) and statvfs(3) tell."""
import ctypes
import fcntl
import mmap
import os
import stat
import struct

from calls import AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, O_TMPFILE, checked, fallocate, libc, link_open, statx
from suite import ALICE, BOB, STAFF, as_user, case, equal, fails, mode_of, read, tick, true

PAGE = mmap.PAGESIZE
LONGEST = (1 << 63) - 1
PUNCH_HOLE, KEEP_SIZE = 2, 1


@case
def seeking(place):
    """lseek: EINVAL before the beginning and for an unknown whence, far behind the end it is right; ESPIPE of a fifo"""
    file = os.open(place.file("f", b"0123456789"), os.O_RDWR)
    fails("EINVAL", os.lseek, file, -1, os.SEEK_SET)
    fails("EINVAL", os.lseek, file, -11, os.SEEK_END)
    fails("EINVAL", os.lseek, file, 0, 99)
    equal(os.lseek(file, 0, os.SEEK_CUR), 0, "the place after errors")
    equal(os.lseek(file, 5, os.SEEK_END), 15)
    equal(os.read(file, 10), b"")
    equal(os.lseek(file, 0, os.SEEK_CUR), 15, "the place after a read behind the end")
    os.mkfifo(place / "fifo")
    fails("ESPIPE", os.lseek, os.open(place / "fifo", os.O_RDWR), 0, os.SEEK_SET)


@case
def offsets(place):
    """pread and pwrite: EINVAL for offsets below 0, EFBIG or a short write at the end of what there can be; no data behind the end"""
    file = os.open(place.file("f", b"0123456789"), os.O_RDWR)
    fails("EINVAL", os.pread, file, 1, -1)
    fails("EINVAL", os.pwrite, file, b"x", -1)
    fails(("EFBIG", "EINVAL"), os.pwrite, file, b"x", LONGEST)
    if place.kind != "tmpfs":  # whose files have no end but this one
        fails(("EFBIG", "EINVAL"), os.ftruncate, file, LONGEST)
    fails("EINVAL", os.ftruncate, file, -1)
    equal(os.pread(file, 10, 1 << 45), b"")
    equal(os.pwrite(file, b"", 1 << 40), 0)
    equal(os.fstat(file).st_size, 10, "size")


@case
def vectors(place):
    """readv and writev: 1,024 parts, of which some are empty; EINVAL for more"""
    file = os.open(place.file("f"), os.O_RDWR)
    parts = [b"" if number % 3 == 0 else bytes([number % 256]) * (number % 7) for number in range(1024)]
    whole = b"".join(parts)
    equal(os.writev(file, parts), len(whole))
    buffers = [bytearray(len(part)) for part in parts]
    equal(os.preadv(file, buffers, 0), len(whole))
    equal(b"".join(buffers), whole)
    fails("EINVAL", os.writev, file, [b"x"] * 1025)


@case
def flags_of_descriptors(place):
    """Descriptors made by dup share place and flags, others don't; O_APPEND can be set and taken off; pwrite appends with it"""
    path = place.file("f", b"0123456789")
    file = os.open(path, os.O_RDWR)
    twin, other = os.dup(file), os.open(path, os.O_RDWR)
    os.lseek(file, 4, os.SEEK_SET)
    equal((os.lseek(twin, 0, os.SEEK_CUR), os.lseek(other, 0, os.SEEK_CUR)), (4, 0), "places")
    before = fcntl.fcntl(file, fcntl.F_GETFL)
    fcntl.fcntl(twin, fcntl.F_SETFL, before | os.O_APPEND)
    true(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_APPEND, "the flag is shared")
    os.write(file, b"a")
    equal(os.lseek(file, 0, os.SEEK_CUR), 11, "the place after an append")
    os.pwrite(file, b"b", 0)
    fcntl.fcntl(file, fcntl.F_SETFL, before)
    os.pwrite(twin, b"X", 0)
    equal(read(path), b"X123456789ab")


@case
def directories_are_no_files(place):
    """read, write, mmap, truncate, fallocate of a directory: EISDIR, EBADF, ENODEV, EINVAL; getdents of a file: ENOTDIR"""
    directory = os.open(place.path, os.O_RDONLY)
    fails("EISDIR", os.read, directory, 1)
    fails("EISDIR", os.pread, directory, 1, 0)
    fails("EBADF", os.write, directory, b"x")
    fails(("ENODEV", "EACCES"), mmap.mmap, directory, PAGE, prot=mmap.PROT_READ)
    fails("EISDIR", os.truncate, place.path, 0)
    fails("EINVAL", os.ftruncate, directory, 0)
    fails("ENOTDIR", os.listdir, os.open(place.file("f"), os.O_RDONLY))
    os.fsync(directory)
    os.fdatasync(directory)


@case
def truncating(place):
    """truncate: ENOENT, ENOTDIR, EACCES, EINVAL of a fifo and for less than nothing; ftruncate: EINVAL for a descriptor that reads"""
    path = place.file("f", b"0123456789")
    fails("ENOENT", os.truncate, place / "missing", 0)
    fails("ENOTDIR", os.truncate, place / "f/x", 0)
    fails("EINVAL", os.truncate, path, -1)
    os.mkfifo(place / "fifo")
    fails("EINVAL", os.truncate, place / "fifo", 0)
    fails(("EINVAL", "EBADF"), os.ftruncate, os.open(path, os.O_RDONLY), 0)
    os.symlink("f", place / "s")
    os.truncate(place / "s", 5)
    equal(read(path), b"01234")
    if os.geteuid() == 0:
        fails("EACCES", as_user, BOB, lambda: os.truncate(path, 0))


@case
def statx_fields(place):
    """statx: block size, device, links, type and mode agree with stat; a symlink itself; EINVAL for unknown flags and masks"""
    path = place.file("f", b"x" * 5000, 0o640)
    buffer = ctypes.create_string_buffer(256)
    checked(libc.statx(-100, os.fsencode(path), 0, 0x7FF, buffer))
    plain = os.stat(path)
    block_size, uid, gid = struct.unpack_from("I", buffer, 4)[0], *struct.unpack_from("II", buffer, 20)
    inode, blocks = struct.unpack_from("Q", buffer, 32)[0], struct.unpack_from("Q", buffer, 48)[0]
    major, minor = struct.unpack_from("II", buffer, 136)
    equal((block_size, uid, gid, inode), (plain.st_blksize, plain.st_uid, plain.st_gid, plain.st_ino))
    equal((blocks, os.makedev(major, minor)), (plain.st_blocks, plain.st_dev))
    true(block_size >= 512 and block_size & (block_size - 1) == 0, f"block size {block_size}")
    os.symlink("f", place / "s")
    true(stat.S_ISLNK(statx(place / "s", flags=AT_SYMLINK_NOFOLLOW)["mode"]), "the symlink itself")
    equal(statx(place / "s")["size"], 5000)
    fails("EINVAL", statx, path, 0x80000000)
    fails("EINVAL", statx, path, 0x7FF, 0x40000000)
    fails("ENOENT", statx, "")
    fails("EINVAL", statx, path, 0x7FF, 0x6000)


@case
def limits_told(place):
    """pathconf and statvfs tell what holds: names of 255 bytes, block sizes, more free than available is no error"""
    equal(os.pathconf(place.path, "PC_NAME_MAX"), 255)
    found = os.statvfs(place.path)
    equal(found.f_namemax, 255)
    true(found.f_bsize >= 512 and found.f_frsize >= 512, "block sizes")
    true(found.f_bavail <= found.f_bfree <= found.f_blocks, "blocks")
    true(found.f_ffree <= found.f_files, "inodes")


@case
def temporary_rights(place):
    """O_TMPFILE: mode & ~umask, the directory's group if it is setgid; EACCES where nothing can be made; open files of users work"""
    place.needs_root()
    os.chown(place.directory("shared"), 0, STAFF)
    os.chmod(place / "shared", 0o2777)

    def made():
        file = os.open(place / "shared", O_TMPFILE | os.O_RDWR, 0o666)
        os.write(file, b"hers")
        link_open(file, place / "shared/f")

    as_user(ALICE, made, umask=0o027)
    found = os.stat(place / "shared/f")
    equal((found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode), found.st_nlink), (ALICE, STAFF, 0o640, 1))
    os.chmod(place / "shared", 0o755)
    fails("EACCES", as_user, ALICE, lambda: os.open(place / "shared", O_TMPFILE | os.O_RDWR))


@case
def users_make_whiteouts(place):
    """A device 0,0 is no device: everybody may make one (mknod(2), Linux 5.8); of others users get EPERM"""
    place.needs_root()
    os.chmod(place.path, 0o777)
    fails("EPERM", as_user, ALICE, lambda: os.mknod(place / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3)))
    as_user(ALICE, lambda: os.mknod(place / "w", stat.S_IFCHR, 0))
    found = os.lstat(place / "w")
    equal((stat.S_ISCHR(found.st_mode), found.st_rdev, found.st_uid), (True, 0, ALICE))


@case
def attributes_of_symlinks(place):
    """lchown changes a symlink and not its target; its mode can't be changed (EOPNOTSUPP); fchownat by an empty path"""
    place.needs_root()
    path = place.file("f", b"", 0o640)
    os.symlink("f", place / "s")
    os.lchown(place / "s", ALICE, STAFF)
    found, target = os.lstat(place / "s"), os.stat(path)
    equal((found.st_uid, found.st_gid, target.st_uid), (ALICE, STAFF, 0))
    descriptor = os.open(place / "s", os.O_PATH | os.O_NOFOLLOW)
    checked(libc.fchownat(descriptor, b"", BOB, BOB, AT_EMPTY_PATH))
    equal((os.lstat(place / "s").st_uid, os.stat(path).st_uid), (BOB, 0))
    # fchmodat2, Linux 6.6.
    fchmodat2 = lambda *values: checked(libc.syscall(452, *values))
    try:
        fchmodat2(os.open(path, os.O_PATH), b"", 0o600, AT_EMPTY_PATH)
    except OSError as error:
        place.needs(error.errno != 38, "no fchmodat2")
        raise
    equal(mode_of(path), 0o600, "mode by an empty path")
    fails("EOPNOTSUPP", fchmodat2, -100, os.fsencode(place / "s"), 0o600, AT_SYMLINK_NOFOLLOW)


@case
def syncing(place):
    """fsync and fdatasync by a descriptor that only reads; EINVAL of fifos, EBADF with O_PATH; msync: EINVAL, ENOMEM"""
    path = place.file("f", b"x" * PAGE)
    reader = os.open(path, os.O_RDONLY)
    os.fsync(reader)
    os.fdatasync(reader)
    fails("EBADF", os.fsync, os.open(path, os.O_PATH))
    os.mkfifo(place / "fifo")
    fails("EINVAL", os.fsync, os.open(place / "fifo", os.O_RDWR))
    os.close(os.open(path, os.O_WRONLY | os.O_SYNC))


@case
def readable_counts(place):
    """ioctl: FIONREAD tells what is left to read; ENOTTY for what files don't have"""
    file = os.open(place.file("f", b"0123456789"), os.O_RDONLY)
    os.read(file, 3)
    buffer = bytearray(4)
    fcntl.ioctl(file, 0x541B, buffer)
    equal(struct.unpack("i", buffer)[0], 7, "FIONREAD")
    fails("ENOTTY", fcntl.ioctl, file, 0x5401, bytearray(64))


@case
def names_go_with_slashes(place):
    """A slash behind a name asks for a directory: rename, link, unlink, mkdir, symlink, stat; and behind a symlink it follows"""
    path = place.file("f")
    os.mkdir(place / "d")
    os.symlink("d", place / "s")
    fails("ENOTDIR", os.stat, path + "/")
    fails("ENOTDIR", os.rename, path, place / "g/")
    fails("ENOTDIR", os.rename, path + "/", place / "g")
    fails(("ENOENT", "ENOTDIR"), os.link, path, place / "g/")
    fails("ENOTDIR", os.unlink, place / "s/")
    fails("ENOTDIR", os.rmdir, place / "s/")
    fails("ENOENT", os.symlink, "f", place / "g/")
    os.mkdir(place / "e/")
    os.rename(place / "e/", place / "e2/")
    true(stat.S_ISDIR(os.lstat(place / "s/").st_mode), "a symlink with a slash is followed")
    fails("ENOTDIR", os.rename, place / "s/", place / "t")
    os.rmdir(place / "e2/")


@case
def copies_of_ranges(place):
    """copy_file_range: of nothing, behind the end, more than there is, from a fifo (EINVAL), to another file system (EXDEV or done)"""
    file = os.open(place.file("f", b"0123456789"), os.O_RDWR)
    other = os.open(place.file("other"), os.O_RDWR)
    equal(os.copy_file_range(file, other, 0), 0)
    equal(os.copy_file_range(file, other, 10, 10), 0)
    equal(os.copy_file_range(file, other, 1 << 40, 5, 0), 5)
    equal(os.copy_file_range(file, other, 3), 3)
    equal((os.lseek(file, 0, os.SEEK_CUR), os.lseek(other, 0, os.SEEK_CUR)), (3, 3), "places")
    equal(read(place / "other"), b"01289")
    os.mkfifo(place / "fifo")
    fails("EINVAL", os.copy_file_range, os.open(place / "fifo", os.O_RDWR), other, 1)
    memory = os.memfd_create("elsewhere")
    try:
        equal(os.copy_file_range(file, memory, 4, 0, 0), 4)
    except OSError as error:
        equal(error.errno, 18, "errno")
    if place.kind != "tmpfs":  # whose files have no end but this one
        fails(("EFBIG", "EINVAL"), os.copy_file_range, file, other, 10, 0, LONGEST - 5)


@case
def punching_nothing(place):
    """fallocate and punching behind the end, or of what is a hole already, are right and leave the content"""
    file = os.open(place.file("f", b"x" * 100), os.O_RDWR)
    for offset, length in ((100, 1), (5_000, 5_000), (1 << 40, 1 << 30)):
        fallocate(file, PUNCH_HOLE | KEEP_SIZE, offset, length)
    equal((os.fstat(file).st_size, os.pread(file, 200, 0)), (100, b"x" * 100))
    fallocate(file, PUNCH_HOLE | KEEP_SIZE, 0, 1 << 40)
    fallocate(file, PUNCH_HOLE | KEEP_SIZE, 0, 100)
    equal((os.fstat(file).st_size, os.pread(file, 200, 0)), (100, bytes(100)))


@case
def renamed_by_open_directories(place):
    """renameat, mkdirat, unlinkat by descriptors of directories that were moved meanwhile, and that were removed (ENOENT)"""
    os.makedirs(place / "a/b")
    inside = os.open(place / "a/b", os.O_RDONLY)
    os.rename(place / "a", place / "c")
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=inside))
    os.rename("f", "g", src_dir_fd=inside, dst_dir_fd=inside)
    os.mkdir("d", dir_fd=inside)
    os.rmdir("d", dir_fd=inside)
    equal(os.listdir(place / "c/b"), ["g"])
    os.unlink("g", dir_fd=inside)
    tick()
    os.rmdir(place / "c/b")
    fails("ENOENT", lambda: os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=inside))
    fails("ENOENT", os.rename, place.file("f"), "x", dst_dir_fd=inside)
    equal((os.fstat(inside).st_nlink, os.listdir(inside)), (0, []))
