"""
The frame of the conformance suite: cases, the place each works in, what it may expect.

A case is a function with the decorator `case`; its docstring says what must hold. It gets a Place: a fresh directory of
its own. It runs in a process of its own, so descriptors, working directory, umask, limits and identity end with it; and
it has a deadline, so that a call that hangs is a failure with a name.
"""
import ctypes
import errno
import mmap
import os
import pickle
import shutil
import signal
import stat
import struct
import sys
import tempfile
import time
import traceback

DEADLINE_SECONDS = 60

NO_SHARED_MEMORY = "no shared, writable mappings"

"""Users and groups without a name: nobody on the machine owns anything as one of them."""
ALICE, BOB, CAROL = 41001, 41002, 41003
STAFF, GUESTS = 42001, 42002

magics = {0xEF53: "ext4", 0x01021994: "tmpfs", 0x65735546: "fuse", 0x58465342: "xfs", 0x9123683E: "btrfs"}


class Skip(Exception):
    """What the case is about does not exist on this file system, or in this environment."""


class Place:
    """A directory of the file system under test that belongs to one case."""

    def __init__(self, path, kind, size):
        self.path = path
        self.kind = kind
        self.is_full = size == "full"

    def __truediv__(self, name):
        return os.path.join(self.path, name)

    def needs(self, condition, reason):
        if not condition:
            raise Skip(reason)

    def needs_root(self):
        self.needs(os.geteuid() == 0, "not root")

    def needs_shared_memory(self):
        """That a file can be mapped for shared writing. FUSE before Linux 6.6 refuses it."""
        with tempfile.NamedTemporaryFile(dir=self.path) as file:
            file.truncate(mmap.PAGESIZE)
            try:
                mmap.mmap(file.fileno(), mmap.PAGESIZE).close()
            except OSError as error:
                self.needs(error.errno != errno.ENODEV, NO_SHARED_MEMORY)
                raise

    def file(self, name, content=b"", mode=0o644):
        path = self / name
        with open(path, "wb") as made:
            made.write(content)
        os.chmod(path, mode)
        return path

    def directory(self, name, mode=0o755):
        path = self / name
        os.mkdir(path)
        os.chmod(path, mode)
        return path


families = {}


def case(function):
    family = function.__module__.rsplit(".", 1)[-1]
    families.setdefault(family, []).append(function)
    return function


def fails(names, call, *values, **named):
    """The call fails with this error, or one of these."""
    wanted = (names,) if isinstance(names, str) else names
    try:
        result = call(*values, **named)
    except OSError as error:
        name = errno.errorcode.get(error.errno, str(error.errno))
        # ENOTSUP and EOPNOTSUPP are one number, EAGAIN and EWOULDBLOCK, too.
        if error.errno not in [getattr(errno, one) for one in wanted]:
            raise AssertionError(f"{call_name(call)} failed with {name}, not {' or '.join(wanted)}") from None
        return
    raise AssertionError(f"{call_name(call)} gave {result!r}, and should fail with {' or '.join(wanted)}")


def call_name(call):
    return getattr(call, "__name__", repr(call))


def equal(found, wanted, what="value"):
    if found != wanted:
        raise AssertionError(f"{what}: found {found!r}, wanted {wanted!r}")


def true(condition, what):
    if not condition:
        raise AssertionError(what)


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def exists(path):
    return os.path.lexists(path)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def tick():
    """Until the kernel's coarse clock, from which local file systems take times, has gone on."""
    time.sleep(0.012)


def as_user(uid, function, gid=None, groups=(), umask=0o022):
    """Runs `function` in a process that is this user, without capabilities. Its value or its exception comes back."""

    def body():
        os.umask(umask)
        os.setgroups(list(groups))
        group = uid if gid is None else gid
        os.setresgid(group, group, group)
        os.setresuid(uid, uid, uid)
        return function()

    return in_child(body)


def in_child(function, seconds=DEADLINE_SECONDS):
    """Runs `function` in a process of its own. Its value or its exception comes back."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            outcome = ("value", function())
        except OSError as error:
            outcome = ("errno", (error.errno, f"{error.strerror} {error.filename or ''}\n{last_frame(error)}"))
        except AssertionError as error:
            outcome = ("wrong", f"{error}\n{last_frame(error)}")
        except Skip as skip:
            outcome = ("skip", str(skip))
        except BaseException:
            outcome = ("wrong", traceback.format_exc())
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(outcome, pipe)
        os._exit(0)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as pipe:
            content = answer_of(pipe, child, seconds)
    finally:
        os.waitpid(child, 0)
    if content == b"":
        raise AssertionError("the process ended without a result")
    kind, value = pickle.loads(content)
    if kind == "errno":
        raise OSError(*value)
    if kind == "wrong":
        raise AssertionError(value)
    if kind == "skip":
        raise Skip(value)
    return value


def last_frame(error):
    """The line of a case in which it happened."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if "/families/" in one.filename]
    return "".join(traceback.format_list(frames[-1:])).rstrip()


def answer_of(pipe, child, seconds):
    def too_late(_signal, _frame):
        os.kill(child, signal.SIGKILL)
        raise AssertionError(f"no end after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(seconds)
    try:
        return pipe.read()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def kind_of(path):
    """The file system's type, by statfs(2)."""
    buffer = ctypes.create_string_buffer(256)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(os.fsencode(path), buffer) != 0:
        raise OSError(ctypes.get_errno(), path)
    magic = struct.unpack_from("l", buffer)[0] & 0xFFFFFFFF
    return magics.get(magic, f"{magic:#x}")


def run_case(function, directory, kind, size):
    """Returns ("ok" | "skip" | "not ok", detail)."""
    path = os.path.join(directory, function.__name__)
    os.mkdir(path)
    os.chmod(path, 0o755)
    try:
        in_child(lambda: function(Place(path, kind, size)), DEADLINE_SECONDS * (60 if size == "full" else 1))
        return "ok", ""
    except Skip as skip:
        return "skip", str(skip)
    except (OSError, AssertionError) as error:
        return "not ok", error.strerror if isinstance(error, OSError) else str(error)
    finally:
        remove(path)


def remove(path):
    try:
        shutil.rmtree(path)
    except OSError as error:
        print(f"# {path} can't be removed: {error}")
