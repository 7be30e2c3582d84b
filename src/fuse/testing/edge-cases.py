"""File operations that Node's fs has no call for, run by mount.test.ts in an empty directory of the mount."""
import ctypes, errno, fcntl, mmap, os, stat, sys

libc = ctypes.CDLL(None, use_errno=True)
os.chdir(sys.argv[1])
linux61 = sys.argv[2] == "linux61"


def fails(number, call, *args):
    try:
        call(*args)
    except OSError as error:
        assert error.errno == number, f"{error} instead of {errno.errorcode[number]}"
    else:
        raise AssertionError(f"{call} did not fail")


def renameat2(old, new, flags):
    if libc.renameat2(-100, old.encode(), -100, new.encode(), flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def content(name):
    with open(name, "rb") as file:
        return file.read()


def put(name, data):
    with open(name, "wb") as file:
        file.write(data)


# Names: any byte but / and NUL, 255 of them.
name = bytes(range(1, 256)).replace(b"/", b"") + b"x"
assert len(name) == 255
put(name, b"odd")
assert os.listdir(b".") == [name] and content(name) == b"odd"
fails(errno.ENAMETOOLONG, put, name + b"y", b"")
os.unlink(name)

# umask, modes, setgid directories.
os.umask(0o027)
os.close(os.open("m", os.O_CREAT | os.O_WRONLY, 0o666))
os.mkdir("md", 0o777)
os.mknod("mn", stat.S_IFIFO | 0o666)
assert [stat.S_IMODE(os.stat(one).st_mode) for one in ("m", "md", "mn")] == [0o640, 0o750, 0o640]
os.umask(0o022)
os.chmod("md", 0o2777)
os.chown("md", 0, 1234)
os.mkdir("md/sub")
put("md/file", b"")
assert os.stat("md/sub").st_gid == 1234 and os.stat("md/sub").st_mode & stat.S_ISGID
assert os.stat("md/file").st_gid == 1234 and os.stat("md").st_mode & stat.S_ISGID
os.mknod("dev", stat.S_IFBLK | 0o600, os.makedev(8, 300))
assert os.stat("dev").st_rdev == os.makedev(8, 300)

# setuid goes with a change of owner, and with a write by someone who may not keep it.
put("suid", b"x")
os.chmod("suid", 0o6755)
os.chown("suid", 7, 7)
assert stat.S_IMODE(os.stat("suid").st_mode) == 0o755
os.chmod("suid", 0o6777)
os.chmod(".", 0o777)
for how in ("write", "truncate", "open"):
    os.chmod("suid", 0o6777)
    child = os.fork()
    if child == 0:
        os.setgid(99)
        os.setuid(99)
        if how == "truncate":
            os.truncate("suid", 0)
        else:
            fd = os.open("suid", os.O_WRONLY | (os.O_TRUNC if how == "open" else 0))
            if how == "write":
                os.write(fd, b"y")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert stat.S_IMODE(os.stat("suid").st_mode) == 0o777, how

# O_APPEND, at open and by fcntl; O_TRUNC; O_EXCL.
fd = os.open("a", os.O_CREAT | os.O_RDWR | os.O_APPEND)
os.write(fd, b"one")
os.lseek(fd, 0, 0)
os.write(fd, b"two")
other = os.open("a", os.O_WRONLY)
os.pwrite(other, b"three", 6)
os.write(fd, b"four")
assert content("a") == b"onetwothreefour"
fcntl.fcntl(fd, fcntl.F_SETFL, 0)
os.lseek(fd, 0, 0)
os.write(fd, b"O")
fcntl.fcntl(other, fcntl.F_SETFL, os.O_APPEND)
os.write(other, b"!")
assert content("a") == b"Onetwothreefour!"
os.close(os.open("a", os.O_WRONLY | os.O_TRUNC))
assert os.fstat(fd).st_size == 0
fails(errno.EEXIST, os.open, "a", os.O_CREAT | os.O_EXCL | os.O_WRONLY)

# Sparse files and offsets without bound.
fd = os.open("sparse", os.O_CREAT | os.O_RDWR)
os.pwrite(fd, b"end", (1 << 40) - 3)
assert os.fstat(fd).st_size == 1 << 40 and os.fstat(fd).st_blocks == 8192
assert os.pread(fd, 10, 1 << 30) == bytes(10) and os.pread(fd, 10, (1 << 40) - 3) == b"end"
assert os.pread(fd, 10, 1 << 60) == b""
fails(errno.EFBIG, os.pwrite, fd, b"x", 1 << 60)
fails(errno.EFBIG, os.ftruncate, fd, 1 << 60)
os.ftruncate(fd, 5)
os.ftruncate(fd, 10)
assert os.pread(fd, 20, 0) == bytes(10)
os.posix_fallocate(fd, 0, 100)
assert os.fstat(fd).st_size == 100
assert os.lseek(fd, 0, os.SEEK_DATA) == 0 and os.lseek(fd, 0, os.SEEK_HOLE) == 100
os.close(fd)

# Files and directories that are unlinked while open.
put("gone", b"still here")
fd = os.open("gone", os.O_RDWR)
os.unlink("gone")
assert os.listdir(".").count("gone") == 0 and not [one for one in os.listdir(".") if one.startswith(".fuse_hidden")]
os.ftruncate(fd, 5)
os.fchmod(fd, 0o600)
os.pwrite(fd, b"!", 5)
os.utime(fd, ns=(1, 2))
assert os.pread(fd, 100, 0) == b"still!" and os.fstat(fd).st_nlink == 0 and os.fstat(fd).st_mtime_ns == 2
os.close(fd)
os.mkdir("gonedir")
fd = os.open("gonedir", os.O_RDONLY)
os.rmdir("gonedir")
assert os.listdir(fd) == []
os.close(fd)

# Times.
put("t", b"")
for atime, mtime in ((1700000000123456789, -1500000001), (0, 1), (-1, 2**33 * 10**9 + 999999999)):
    os.utime("t", ns=(atime, mtime))
    assert (os.stat("t").st_atime_ns, os.stat("t").st_mtime_ns) == (atime, mtime)
os.utime("t")
assert os.stat("t").st_mtime > 1.6e9
UTIME_OMIT, UTIME_NOW = (1 << 30) - 2, (1 << 30) - 1
times = (ctypes.c_long * 4)(0, UTIME_NOW, 0, UTIME_OMIT)
before = os.stat("t")
assert libc.utimensat(-100, b"t", times, 0) == 0
assert os.stat("t").st_atime_ns >= before.st_atime_ns and os.stat("t").st_mtime_ns == before.st_mtime_ns

# rename
put("r1", b"1")
put("r2", b"2")
fails(errno.EEXIST, renameat2, "r1", "r2", 1)
fails(errno.EINVAL, renameat2, "r1", "r2", 3)
renameat2("r1", "r2", 2)
assert content("r1") == b"2" and content("r2") == b"1"
renameat2("r2", "r1", 2)
renameat2("r1", "r3", 1)
os.rename("r3", "r2")
assert content("r2") == b"1"
os.makedirs("rd/inner")
fails(errno.EINVAL, os.rename, "rd", "rd/inner/rd")
fails(errno.ENOTEMPTY, os.rename, "md", "rd")
fails(errno.EISDIR, os.rename, "r2", "rd")
fails(errno.ENOTDIR, os.rename, "rd", "r2")
fails(errno.ENOTEMPTY, os.rmdir, "rd")

# Links.
os.link("r2", "r4")
assert os.stat("r2").st_nlink == 2 and os.path.samefile("r2", "r4")
os.symlink("t" * 4095, "long")
assert os.readlink("long") == "t" * 4095
fails(errno.EPERM, os.link, "rd", "rd2")

# What is not there is said in the way that programs fall back from.
fails(errno.EOPNOTSUPP, os.setxattr, "t", "system.nfs4_acl", b"x")
fails(errno.ENOTTY, fcntl.ioctl, os.open("t", os.O_RDONLY), 0x5401)
first, second = os.open("r2", os.O_RDONLY), os.open("copied", os.O_CREAT | os.O_RDWR)
assert os.copy_file_range(first, second, 1) == 1 and content("copied") == b"1"

# Mapped memory, also of a file that appends.
for flags in (0, os.O_APPEND):
    put("map", b"a" * 10000)
    fd = os.open("map", os.O_RDWR | flags)
    with mmap.mmap(fd, 0, mmap.MAP_PRIVATE) as private:
        assert private[9999:] == b"a"
    try:
        shared = mmap.mmap(fd, 0)
    except OSError as error:
        assert linux61 and error.errno == errno.ENODEV, error
    else:
        assert not linux61
        shared[5000:5003] = b"xyz"
        shared.flush()
        shared.close()
        assert content("map") == b"a" * 5000 + b"xyz" + b"a" * 4997
    os.close(fd)

# Large directories, read from the middle and while they change.
os.mkdir("many")
names = {f"{number}".rjust(60, "n") for number in range(3000)}
for one in names:
    put(f"many/{one}", b"")
assert set(os.listdir("many")) == names
seen = set()
with os.scandir("many") as entries:
    for entry in entries:
        seen.add(entry.name)
        os.unlink(entry.path)
assert seen == names and os.listdir("many") == []
assert os.stat("many").st_nlink == 2 and os.stat("rd").st_nlink == 3
print("all right")
