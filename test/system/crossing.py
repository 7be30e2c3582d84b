"""
What two mounts of one volume do to the same file or name in turn, each with its own way to get at it:

    python3 crossing.py CASE HERE THERE

Ends with 1, and says where, if a call finds anything else than what has been done before it. As root.
"""
import errno
import fcntl
import mmap
import os
import random
import signal
import sys
import time

PAGE = 4096
ROUNDS = 30

case, HERE, THERE = sys.argv[1:]
cases = {}


def crossing(function):
    cases[function.__name__] = function
    return function


def made(mount, name, content=b""):
    file = os.open(f"{mount}/{name}", os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(file, content, 0)
    return file


def content_of(mount, name):
    with open(f"{mount}/{name}", "rb") as file:
        return file.read()


def status_of(function):
    """Of a child that runs it."""
    child = os.fork()
    if child == 0:
        try:
            function()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


@crossing
def mapped_and_cut():
    """Stores before the new end stay, those behind it don't come back; memory behind the end is SIGBUS."""
    file = made(HERE, "f", b"x" * 3 * PAGE)
    memory = mmap.mmap(file, 3 * PAGE)
    memory[PAGE] = memory[2 * PAGE + 5] = ord("m")
    os.truncate(f"{THERE}/f", PAGE + 1)
    assert os.stat(f"{HERE}/f").st_size == PAGE + 1
    assert content_of(THERE, "f") == b"x" * PAGE + b"m"
    status = status_of(lambda: memory[2 * PAGE])
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS, status
    os.truncate(f"{THERE}/f", 3 * PAGE)
    assert memory[PAGE : PAGE + 3] == b"m\0\0" and memory[2 * PAGE + 5] == 0


@crossing
def mapped_on_both():
    """msync and read hand a page to and fro."""
    files = made(HERE, "f", bytes(PAGE)), os.open(f"{THERE}/f", os.O_RDWR)
    one, two = (mmap.mmap(file, PAGE) for file in files)
    for number in range(ROUNDS):
        one[0] = number
        one.flush()
        assert two[0] == number
        two[1] = number
        assert os.pread(files[0], 2, 0) == bytes([number, number])


@crossing
def mapped_and_removed():
    """Memory, and a descriptor on the other mount, outlive the name."""
    file = made(HERE, "f", b"a" * PAGE)
    memory = mmap.mmap(file, PAGE)
    other = os.open(f"{THERE}/f", os.O_RDONLY)
    os.close(file)
    os.unlink(f"{THERE}/f")
    memory[5] = ord("B")
    assert os.pread(other, 7, 0) == b"aaaaaBa"
    assert os.fstat(other).st_nlink == 0
    os.close(other)
    time.sleep(0.5)
    assert memory[5] == ord("B") and memory[PAGE - 1] == ord("a")


@crossing
def direct_and_buffered():
    """O_DIRECT on one mount, plain calls and mapped memory on the other."""
    file = made(HERE, "f")
    direct, plain = os.open(f"{HERE}/f", os.O_RDWR | os.O_DIRECT), os.open(f"{THERE}/f", os.O_RDWR)
    buffer = mmap.mmap(-1, 2 * PAGE)
    for number in range(1, ROUNDS):
        buffer[:] = bytes([number]) * 2 * PAGE
        os.pwritev(direct, [buffer], 0)
        assert os.pread(plain, 2 * PAGE, 0) == bytes([number]) * 2 * PAGE
        os.pwrite(plain, b"plain", PAGE - 2)
        os.preadv(direct, [buffer], 0)
        assert buffer[PAGE - 3 : PAGE + 4] == bytes([number]) + b"plain" + bytes([number])
        with mmap.mmap(plain, 2 * PAGE) as memory:
            memory[1] = ord("m")
            os.preadv(direct, [buffer], 0)
            assert buffer[1] == ord("m")
    os.close(file)


@crossing
def renamed_over():
    """Who has the replaced file open keeps it; who opens the name has the new one."""
    for number in range(ROUNDS):
        os.close(made(HERE, "f", b"old %d" % number))
        with open(f"{THERE}/f", "rb") as file:
            os.close(made(HERE, "new", b"new %d" % number))
            os.rename(f"{HERE}/new", f"{HERE}/f")
            assert content_of(THERE, "f") == b"new %d" % number
            assert file.read() == b"old %d" % number
            assert os.fstat(file.fileno()).st_nlink == 0


@crossing
def linked():
    """Names made and removed on either side: links, content and mode are those of one file."""
    for number in range(ROUNDS):
        os.close(made(HERE, "a", b"1"))
        os.link(f"{THERE}/a", f"{THERE}/b")
        assert os.stat(f"{HERE}/a").st_nlink == 2
        os.unlink(f"{HERE}/a")
        with open(f"{HERE}/b", "ab") as file:
            file.write(b"2")
        assert content_of(THERE, "b") == b"12" and os.stat(f"{THERE}/b").st_nlink == 1
        os.link(f"{HERE}/b", f"{HERE}/c")
        os.rename(f"{THERE}/b", f"{THERE}/c")  # two names of one file: nothing happens
        os.chmod(f"{THERE}/b", 0o600 + number % 8)
        assert os.stat(f"{HERE}/c").st_mode & 0o777 == 0o600 + number % 8
        os.unlink(f"{HERE}/b")
        os.unlink(f"{THERE}/c")
        assert os.listdir(HERE) == []


@crossing
def locked_and_forked():
    """A flock goes with the last descriptor of any process, or with the first unlock; locks of fcntl(2) aren't inherited."""
    file, other = made(HERE, "f"), os.open(f"{THERE}/f", os.O_RDWR)

    def is_free():
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(other, fcntl.LOCK_UN)
        return True

    fcntl.flock(file, fcntl.LOCK_EX)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reader, 1)
        os._exit(0)
    os.close(file)
    assert not is_free()
    os.write(writer, b"x")
    os.waitpid(child, 0)
    deadline = time.monotonic() + 5
    while not is_free():
        assert time.monotonic() < deadline
    file = os.open(f"{HERE}/f", os.O_RDWR)
    fcntl.flock(file, fcntl.LOCK_EX)
    assert status_of(lambda: fcntl.flock(file, fcntl.LOCK_UN)) == 0
    assert is_free()
    fcntl.lockf(file, fcntl.LOCK_EX)
    assert status_of(lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)) != 0


@crossing
def listed_while_renamed():
    """Names that nobody touches are in every listing, once."""
    names = [f"{number:04}" for number in range(400)]
    for name in names:
        os.close(made(HERE, name))
    child = os.fork()
    if child == 0:
        chosen = random.Random(1)
        while True:
            name = names[chosen.randrange(200)]
            os.rename(f"{HERE}/{name}", f"{HERE}/x{name}")
            os.rename(f"{HERE}/x{name}", f"{HERE}/{name}")
    try:
        for _ in range(3 * ROUNDS):
            assert sorted(set(names[200:]).intersection(listed := os.listdir(THERE))) == names[200:]
            assert sorted(name for name in listed if name in names[200:]) == names[200:]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@crossing
def other_types_by_turns():
    """A name is a file, a directory, a symlink: each mount sees what it is now."""
    for number in range(ROUNDS):
        os.close(made(HERE, "n", b"f"))
        assert content_of(THERE, "n") == b"f"
        os.unlink(f"{HERE}/n")
        os.mkdir(f"{HERE}/n")
        os.close(made(HERE, "n/in", b"i"))
        assert content_of(THERE, "n/in") == b"i"
        os.unlink(f"{THERE}/n/in")
        os.rmdir(f"{THERE}/n")
        os.symlink(f"to {number}", f"{THERE}/n")
        assert os.readlink(f"{HERE}/n") == f"to {number}"
        os.unlink(f"{HERE}/n")
        try:
            os.lstat(f"{THERE}/n")
            raise AssertionError("it is still there")
        except OSError as error:
            assert error.errno == errno.ENOENT


cases[case]()
