"""Memory and files: mmap(2), msync(2), madvise(2), memory that isn't there, O_DIRECT beside it; RLIMIT_FSIZE."""
import ctypes
import mmap
import os
import resource
import signal

from calls import checked, libc
from suite import case, equal, fails, in_child, read, true

PAGE = mmap.PAGESIZE
MADV_REMOVE = 9
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.write.argtypes = libc.read.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
libc.pwrite.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_long]


def half_readable():
    """The address of two pages of memory, of which the second can't be touched."""
    address = libc.mmap(None, 2 * PAGE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    ctypes.memset(address, ord("m"), PAGE)
    checked(libc.mprotect(address + PAGE, PAGE, 0))
    return address


@case
def wrong_addresses(place):
    """EFAULT for memory that isn't there; a write from memory that ends early is short or EFAULT, and only what it counts is written"""
    path = place.file("f", b"-" * (3 * PAGE))
    file = os.open(path, os.O_RDWR)
    address = half_readable()
    fails("EFAULT", lambda: checked(libc.write(file, address + PAGE, 10)))
    fails("EFAULT", lambda: checked(libc.read(file, address + PAGE, 10)))
    equal(os.lseek(file, 0, os.SEEK_CUR), 0, "the place after EFAULT")
    equal(read(path), b"-" * (3 * PAGE))
    written = libc.pwrite(file, address + PAGE - 100, 200, 50)
    count = max(0, written)
    true(count in (0, 100), f"{written} bytes written of 100 that are there")
    equal(read(path)[:300], b"-" * 50 + b"m" * count + b"-" * (250 - count))


@case
def cut_and_grown(place):
    """What was cut off is zeros when the file grows again: by truncate, by a write behind the end, and in mapped memory"""
    place.needs_shared_memory()
    file = os.open(place.file("f", b"x" * 3 * PAGE), os.O_RDWR)
    with mmap.mmap(file, 3 * PAGE) as memory:
        equal(memory[PAGE : PAGE + 2], b"xx")
        os.ftruncate(file, PAGE + 10)
        os.ftruncate(file, 3 * PAGE)
        equal(memory[PAGE : PAGE + 20], b"x" * 10 + bytes(10))
        memory[PAGE + 15] = ord("y")
        memory.flush()
        os.ftruncate(file, PAGE + 5)
        os.pwrite(file, b"z", PAGE + 20)
        equal(memory[PAGE : PAGE + 21], b"x" * 5 + bytes(15) + b"z")
    equal(os.pread(file, 30, PAGE), b"x" * 5 + bytes(15) + b"z")


@case
def mapping_rights(place):
    """mmap: EACCES for a descriptor that doesn't read, and for shared writing through one that only reads; private is right"""
    place.needs_shared_memory()
    path = place.file("f", b"x" * PAGE)
    reader, writer = os.open(path, os.O_RDONLY), os.open(path, os.O_WRONLY)
    map_it = lambda descriptor, protection, flags: checked(
        -1 if libc.mmap(None, PAGE, protection, flags, descriptor, 0) == ctypes.c_void_p(-1).value else 0
    )
    fails("EACCES", map_it, writer, mmap.PROT_READ, mmap.MAP_SHARED)
    fails("EACCES", map_it, writer, mmap.PROT_WRITE, mmap.MAP_SHARED)
    fails("EACCES", map_it, reader, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED)
    map_it(reader, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE)
    map_it(reader, mmap.PROT_READ, mmap.MAP_SHARED)


@case
def memory_outlives_descriptors(place):
    """What is stored after the descriptor was closed, and the name removed, is in the file; a process that ends writes it back"""
    place.needs_shared_memory()
    path = place.file("f", b"x" * 2 * PAGE)

    def store():
        file = os.open(path, os.O_RDWR)
        address = libc.mmap(None, 2 * PAGE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, file, 0)
        os.close(file)
        ctypes.memset(address + PAGE - 1, ord("m"), 2)

    in_child(store)
    equal(read(path)[PAGE - 2 : PAGE + 2], b"xmmx")
    file = os.open(path, os.O_RDWR)
    memory = mmap.mmap(file, 2 * PAGE)
    os.unlink(path)
    memory[0] = ord("n")
    memory.flush()
    equal(os.pread(file, 2, 0), b"nx")


@case
def removing_mapped_memory(place):
    """madvise(MADV_REMOVE) punches a hole; MADV_DONTNEED loses nothing of a shared mapping"""
    place.needs_shared_memory()
    file = os.open(place.file("f", b"x" * 3 * PAGE), os.O_RDWR)
    memory = mmap.mmap(file, 3 * PAGE)
    memory[0:3] = b"new"
    memory.madvise(mmap.MADV_DONTNEED)
    equal(memory[0:4], b"newx")
    try:
        memory.madvise(MADV_REMOVE, PAGE, PAGE)
    except OSError as error:
        place.needs(error.errno != 95, "no holes here")
        raise
    equal(memory[PAGE - 1 : PAGE + 1], b"x\0")
    equal(os.pread(file, 2, 2 * PAGE - 1), b"\0x")


@case
def behind_the_end(place):
    """SIGBUS for memory of a page behind the end, also if the file was cut after it was mapped"""
    place.needs_shared_memory()
    file = os.open(place.file("f", b"x" * 3 * PAGE), os.O_RDWR)

    def killed(touch):
        child = os.fork()
        if child == 0:
            touch()
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0

    memory = mmap.mmap(file, 3 * PAGE)
    equal(memory[2 * PAGE], ord("x"))
    os.ftruncate(file, PAGE + 1)
    equal(killed(lambda: memory[2 * PAGE]), signal.SIGBUS, "signal")
    equal(killed(lambda: memory.__setitem__(2 * PAGE, 1)), signal.SIGBUS, "signal")
    equal(killed(lambda: memory[2 * PAGE - 1]), 0, "in the last page")
    os.ftruncate(file, 3 * PAGE)
    equal(memory[2 * PAGE], 0)


@case
def limit_of_file_size_everywhere(place):
    """RLIMIT_FSIZE: appends and copy_file_range are short at it; EFBIG behind it; what is larger already can be changed and cut"""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    larger = os.open(place.file("larger", b"x" * 30_000), os.O_RDWR)
    path = place.file("f", b"x" * 9_990)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    file = os.open(path, os.O_WRONLY | os.O_APPEND)
    equal(os.write(file, b"a" * 50), 10)
    fails("EFBIG", os.write, file, b"a")
    other = os.open(place / "other", os.O_RDWR | os.O_CREAT)
    equal(os.copy_file_range(larger, other, 20_000, 0, 9_000), 1_000)
    fails("EFBIG", os.copy_file_range, larger, other, 10, 0, 10_000)
    equal(os.pwrite(larger, b"y", 5_000), 1)
    fails("EFBIG", os.pwrite, larger, b"y", 20_000)
    os.ftruncate(larger, 20_000)
    equal((os.fstat(larger).st_size, os.fstat(other).st_size, os.stat(path).st_size), (20_000, 10_000, 10_000))


@case
def direct_edges(place):
    """O_DIRECT: short at the end, nothing behind it, and what is written so is there for others and in memory, and the other way round"""
    path = place.file("f", b"a" * (2 * PAGE + 100))
    try:
        file = os.open(path, os.O_RDWR | os.O_DIRECT)
    except OSError as error:
        place.needs(error.errno != 22, "this file system has no O_DIRECT")
        raise
    memory = mmap.mmap(-1, 4 * PAGE)
    equal(os.preadv(file, [memory], 0), 2 * PAGE + 100)
    equal(os.preadv(file, [memory], 4 * PAGE), 0)
    other = os.open(path, os.O_RDWR)
    place.needs_shared_memory()
    shared = mmap.mmap(other, 2 * PAGE)
    equal(shared[PAGE], ord("a"))
    memory[:] = b"d" * (4 * PAGE)
    equal(os.pwritev(file, [memoryview(memory)[:PAGE]], PAGE), PAGE)
    equal((os.pread(other, 1, PAGE), shared[PAGE]), (b"d", ord("d")))
    shared[0] = ord("s")
    equal(os.preadv(file, [memoryview(memory)[:PAGE]], 0), PAGE)
    equal(memory[0:2], b"sa")
