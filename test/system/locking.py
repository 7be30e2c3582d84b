"""System calls of advisory locks: fcntl(2) of processes and open file descriptions, flock(2)."""
import errno
import fcntl
import os
import signal
import struct

commands = {
    "posix": {"test": fcntl.F_GETLK, "set": fcntl.F_SETLK, "wait": fcntl.F_SETLKW},
    "ofd": {"test": 36, "set": 37, "wait": 38},  # F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW
}
types = {"shared": fcntl.F_RDLCK, "exclusive": fcntl.F_WRLCK, "none": fcntl.F_UNLCK}
names = {number: name for name, number in types.items()}
layout = "hhqqi4x"


def change(descriptor, kind, mode, start=0, length=0, command="set"):
    """`mode` none releases. A length of 0 reaches to the end of all files."""
    if kind == "flock":
        operation = {"shared": fcntl.LOCK_SH, "exclusive": fcntl.LOCK_EX, "none": fcntl.LOCK_UN}[mode]
        fcntl.flock(descriptor, operation | (fcntl.LOCK_NB if command == "set" else 0))
    else:
        request = struct.pack(layout, types[mode], os.SEEK_SET, start, length, 0)
        fcntl.fcntl(descriptor, commands[kind][command], request)


def test(descriptor, kind, mode, start=0, length=0):
    """Mode, first byte and length of what is in the way; mode `none`: nothing."""
    request = struct.pack(layout, types[mode], os.SEEK_SET, start, length, 0)
    found = struct.unpack(layout, fcntl.fcntl(descriptor, commands[kind]["test"], request))
    return {"mode": names[found[0]], "start": found[2], "length": found[3], "pid": found[4]}


def interrupted(*_):
    """A signal whose handler ends the call: Python makes it again otherwise."""
    raise InterruptedError(errno.EINTR, "interrupted")


signal.signal(signal.SIGUSR1, interrupted)

calls = {
    "lock": change,
    "lockWait": lambda *arguments: change(*arguments, command="wait"),
    "lockTest": test,
}
