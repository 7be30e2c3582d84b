"""
Calls for which the kernel uses a file's size without asking: another mount changes the size of a file that is open here,
and the call must find the size as it is. Two directories that are mounts of one volume are given; prints what is wrong.
"""
import ctypes
import errno
import fcntl
import mmap
import os
import resource
import signal
import struct
import sys
import time

HERE, THERE = sys.argv[1:3]
PAGE = mmap.PAGESIZE
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.msync.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
MS_SYNC = 4
"""struct flock of 64-bit machines: l_type, l_whence, l_start, l_len, l_pid."""
LOCK = "hhqqi4x"
wrong = 0


class Memory:
    """A shared mapping, also behind the end of the file: the module mmap asks for the size first."""

    def __init__(self, descriptor, length):
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        self.address = libc.mmap(None, length, protection, mmap.MAP_SHARED, descriptor, 0)
        self.length = length
        self.bytes = (ctypes.c_char * length).from_address(self.address)

    def store(self, offset, byte):
        self.bytes[offset] = byte
        if libc.msync(self.address, self.length, MS_SYNC) != 0:
            raise OSError(ctypes.get_errno(), "msync")


def until_end(step):
    """How far a call that moves bytes gets."""
    total = 0
    while moved := step(total):
        total += moved
    return total


def copied(descriptor, name):
    target = os.open(f"{HERE}/{name}.copy", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    return until_end(lambda at: os.copy_file_range(descriptor, target, 1 << 20, at, at))


def sent(descriptor, _name):
    target = os.memfd_create("target")
    return until_end(lambda at: os.sendfile(target, descriptor, at, 1 << 20))


def spliced(descriptor, _name):
    reader, writer = os.pipe()

    def step(at):
        moved = os.splice(descriptor, writer, PAGE, offset_src=at)
        return moved and len(os.read(reader, moved))

    return until_end(step)


def read(descriptor, _name):
    return len(os.pread(descriptor, 1 << 20, 0))


def seek_end(descriptor, _name):
    return os.lseek(descriptor, 0, os.SEEK_END)


def seek_hole(descriptor, _name):
    return os.lseek(descriptor, 0, os.SEEK_HOLE)


def appended(descriptor, name):
    """What was there before, if the byte came behind it."""
    appending = os.open(f"{HERE}/{name}", os.O_WRONLY | os.O_APPEND)
    os.write(appending, b"x")
    return os.stat(f"{THERE}/{name}").st_size - 1


def appended_by_flag(descriptor, name):
    """The same with RWF_APPEND, which no open(2) has announced."""
    os.pwritev(descriptor, [b"x"], 0, os.RWF_APPEND)
    os.pwritev(descriptor, [b"yz"], 0, os.RWF_APPEND)
    with open(f"{THERE}/{name}", "rb") as other:
        content = other.read()
    return len(content) - 3 if content.endswith(b"xyz") else content[-10:]


def locked(descriptor, name):
    """A lock that begins two bytes before the end is there for the other mount, which is another owner; and goes."""
    last_two = struct.pack(LOCK, fcntl.F_WRLCK, os.SEEK_END, -2, 2, 0)
    other = os.open(f"{THERE}/{name}", os.O_RDWR)
    seen = lambda: struct.unpack(LOCK, fcntl.fcntl(other, fcntl.F_GETLK, struct.pack(LOCK, fcntl.F_WRLCK, 0, 0, 0, 0)))
    fcntl.fcntl(descriptor, fcntl.F_SETLK, last_two)
    _mode, _whence, start, length, _process = seen()
    fcntl.fcntl(descriptor, fcntl.F_SETLK, struct.pack(LOCK, fcntl.F_UNLCK, os.SEEK_END, -2, 2, 0))
    return start, length, seen()[0] == fcntl.F_UNLCK


def limited(change, more, disposition=signal.SIG_IGN):
    """So much larger, with RLIMIT_FSIZE 1000 bytes above the size that the file has."""

    def call(descriptor, name):
        size = os.stat(f"{THERE}/{name}").st_size
        signal.signal(signal.SIGXFSZ, disposition)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1000, resource.RLIM_INFINITY))
        change(descriptor, size + more)

    return call


def allocated(descriptor, size):
    os.posix_fallocate(descriptor, 0, size)


def in_child(call):
    """Its value, the name of its error, or the signal that it got: a load behind the end of a file ends the process."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            value = repr(call())
        except OSError as error:
            value = errno.errorcode[error.errno]
        os.write(writer, value.encode())
        os._exit(0)
    os.close(writer)
    value = os.read(reader, 1000).decode()
    os.close(reader)
    status = os.waitpid(child, 0)[1]
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else value


def check(what, before, after, wanted, call, is_mapped=False, is_touched=False, flags=os.O_RDWR):
    global wrong
    how = "appending-" if flags & os.O_APPEND else ""
    name = f"{how}{what}-{before}-{after}".replace(" ", "-")
    with open(f"{HERE}/{name}", "wb") as made:
        made.write(b"a" * before)
    descriptor = os.open(f"{HERE}/{name}", flags)
    os.fstat(descriptor)
    memory = Memory(descriptor, -(-max(before, after) // PAGE) * PAGE + 2 * PAGE) if is_mapped else None
    if is_touched and before > 0:
        memory.bytes[0]
    if after < before:
        os.truncate(f"{THERE}/{name}", after)
    else:
        with open(f"{THERE}/{name}", "r+b") as other:
            other.seek(before)
            other.write(b"b" * (after - before))
    found = in_child(lambda: call(memory, f"{THERE}/{name}") if is_mapped else call(descriptor, name))
    if found != (wanted if isinstance(wanted, str) else repr(wanted)):
        wrong += 1
        print(f"{how}{what}, {before} bytes become {after}: found {found}, wanted {wanted}", flush=True)
    os.close(descriptor)


def positions(descriptor, name):
    """Of a file that is open for appending: what it writes is at the end; lseek(SEEK_CUR) says so once the size was asked for."""
    os.write(descriptor, b"first")
    os.fstat(descriptor)
    os.write(descriptor, b"second")
    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    with open(f"{THERE}/{name}", "rb") as other:
        content = other.read()
    return content[-11:], len(content) - 11, place - 11


def sent_in_part(descriptor, name):
    """Not more than there is, and what there is."""
    target = os.memfd_create("target")
    total = until_end(lambda at: os.sendfile(target, descriptor, at, 1 << 20))
    with open(f"{THERE}/{name}", "rb") as other:
        content = other.read()
    return os.pread(target, total, 0) == content[:total]


def copied_later(descriptor, name):
    """When nobody has it open for appending any more."""
    reading = os.open(f"{HERE}/{name}", os.O_RDONLY)
    os.close(descriptor)
    total = copied(reading, name)
    os.close(reading)
    os.dup2(os.memfd_create("closed already"), descriptor)
    return total


def stored_appending(memory, there):
    """A store behind the size that the kernel knew, after the time in which splice(2) may use it."""
    end = os.stat(there).st_size
    memory.bytes[0]
    time.sleep(0.1)
    memory.store(end - 1, b"m")
    with open(there, "rb") as other:
        content = other.read()
    return content[-1:], len(content)


def check_appends_beside_sendfile(flags):
    """Appends of both mounts are all there, once and whole, while pages of the file come and go here with its lease."""
    global wrong
    name, count = f"appended-beside-{flags}", 200
    open(f"{HERE}/{name}", "wb").close()
    children = []
    for writer, mount in enumerate((HERE, THERE, HERE, THERE)):
        child = os.fork()
        if child == 0:
            appending = os.open(f"{mount}/{name}", os.O_RDWR | os.O_APPEND)
            for number in range(count):
                os.write(appending, b"%d %d %s\n" % (writer, number, b"." * (writer * 311)))
            os._exit(0)
        children.append(child)
    descriptor = os.open(f"{HERE}/{name}", flags)
    for _ in range(30):
        sent(descriptor, name)
        time.sleep(0.01)
    ends = [os.waitpid(child, 0)[1] for child in children]
    with open(f"{THERE}/{name}", "rb") as other:
        lines = other.read().splitlines()
    wanted = [b"%d %d %s" % (writer, number, b"." * (writer * 311)) for writer in range(4) for number in range(count)]
    if any(ends) or sorted(lines) != sorted(wanted):
        wrong += 1
        print(f"appends beside sendfile, {flags}: the writers ended with {ends}, {len(lines)} lines", flush=True)


def check_memory(before, after):
    last = b"b" if after > before else b"a"
    behind = -(-after // PAGE) * PAGE

    def stored(memory, there):
        memory.store(after - 1, b"m")
        with open(there, "rb") as other:
            content = other.read()
        return content[-1:], len(content)

    for is_touched in (False, True):
        how = dict(is_mapped=True, is_touched=is_touched)
        tag = "touched " if is_touched else ""
        if after > 0:
            check(f"{tag}load", before, after, last, lambda memory, _: memory.bytes[after - 1], **how)
            check(f"{tag}store", before, after, (b"m", after), stored, **how)
        check(f"{tag}load behind", before, after, "SIGBUS", lambda memory, _: memory.bytes[behind], **how)


SIZES = (0, 5000), (100, 3000), (100, 20_000), (20_000, 100), (20_000, 4096), (4096, 12_288), (10_000, 0), (9, 1_000_000)
for before, after in SIZES:
    for call in (copied, sent, spliced, read, seek_end, appended, appended_by_flag):
        check(call.__name__, before, after, after, call)
    check("seek_hole", before, after, after or "ENXIO", seek_hole)
    check("locked", before, after, (after - 2, 2, True) if after > 1 else "EINVAL", locked)
    for change in (os.ftruncate, allocated):
        check(f"within limit {change.__name__}", before, after, None, limited(change, 1000))
        check(f"over limit {change.__name__}", before, after, "EFBIG", limited(change, 1001))
        check(f"killed {change.__name__}", before, after, "SIGXFSZ", limited(change, 1001, signal.SIG_DFL))
    check_memory(before, after)
    appending = dict(flags=os.O_RDWR | os.O_APPEND)
    for call in (read, seek_end, copied_later):
        check(call.__name__, before, after, after, call, **appending)
    check("positions", before, after, (b"firstsecond", after, after), positions, **appending)
    check("sent in part", before, after, True, sent_in_part, **appending)
    if before > 0 and after > 0:
        check("stored", before, after, (b"m", after), stored_appending, is_mapped=True, **appending)
for size in (1000, 4096, 10_000):
    for call in (sent, spliced, copied):
        check(call.__name__, size, size, size, call, flags=os.O_RDWR | os.O_APPEND)
for flags in (os.O_RDONLY, os.O_RDWR | os.O_APPEND):
    check_appends_beside_sendfile(flags)
sys.exit(1 if wrong else 0)
