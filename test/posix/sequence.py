"""
Makes sequences of system calls in a directory and tells what each gave, so that two file systems can be compared: see
side-by-side.test.ts.

A line on the standard input is {"name": ..., "calls": [...]}: the calls are made in a fresh directory of that name, which is
removed again; the answer is a line with a result for each call and a last one with all that was left. With several
directories, which are mounts of one volume, calls by path go to one after the other. What differs between file systems
without being wrong (inode numbers, sizes of directories, times that nobody set) is left out or given by order.
"""
import errno
import fcntl
import json
import os
import shutil
import stat
import sys

import calls as system
import suite

USERS = [(0, 0, []), (suite.ALICE, suite.ALICE, [suite.STAFF]), (suite.BOB, suite.STAFF, [])]
FLAGS = {"r": os.O_RDONLY, "w": os.O_WRONLY, "+": os.O_RDWR}
FLAG_BITS = {"create": os.O_CREAT, "exclusive": os.O_EXCL, "truncate": os.O_TRUNC, "append": os.O_APPEND}
NAME_BITS = {"noReplace": system.RENAME_NOREPLACE, "exchange": system.RENAME_EXCHANGE}


class Sequence:
    def __init__(self, tops):
        self.tops = tops
        self.turn = 0
        self.files = {}

    def path(self, relative):
        self.turn += 1
        return os.path.join(self.tops[self.turn % len(self.tops)], relative)

    def shown(self, found):
        """What must be the same on both sides."""
        size = None if stat.S_ISDIR(found.st_mode) else found.st_size
        return [oct(found.st_mode), found.st_nlink, found.st_uid, found.st_gid, size]

    # Each method is a call; its arguments come from the test.

    def open(self, slot, path, access, bits, mode):
        flags = FLAGS[access] | os.O_NONBLOCK  # a fifo has no other end here
        for bit in bits:
            flags |= FLAG_BITS[bit]
        self.keep(slot, os.open(self.meeting_place(path), flags, mode))

    def meeting_place(self, path):
        """The path on the mount whose turn it is; of a fifo always on the first: its ends meet in one mount's kernel."""
        place = self.path(path)
        try:
            is_fifo = stat.S_ISFIFO(os.stat(place).st_mode)
        except OSError:
            return place
        return os.path.join(self.tops[0], path) if is_fifo else place

    def temporary(self, slot, path, mode):
        self.keep(slot, os.open(self.path(path), system.O_TMPFILE | os.O_RDWR, mode))

    def keep(self, slot, descriptor):
        # Who has a fifo open only the kernel knows, and not when another mount removes it (docs/promises.md, Kernels).
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return
        if slot in self.files:
            os.close(self.files[slot][0])
        self.files[slot] = descriptor, self.top()

    def file(self, slot):
        if slot not in self.files:
            raise OSError(errno.EBADF, "no such slot")
        return self.files[slot][0]

    def close(self, slot):
        os.close(self.file(slot))
        del self.files[slot]

    def read(self, slot, length):
        return os.read(self.file(slot), length).hex()

    def pread(self, slot, offset, length):
        return os.pread(self.file(slot), length, offset).hex()

    def write(self, slot, byte, length):
        """After an append the kernel takes the position from the size that it heard last (docs/promises.md, Kernels)."""
        if fcntl.fcntl(self.file(slot), fcntl.F_GETFL) & os.O_APPEND:
            os.fstat(self.file(slot))
        return os.write(self.file(slot), bytes([byte]) * length)

    def pwrite(self, slot, offset, byte, length):
        return os.pwrite(self.file(slot), bytes([byte]) * length, offset)

    def seek(self, slot, offset, whence):
        # Where a directory ends is each file system's own.
        if whence == os.SEEK_END and stat.S_ISDIR(os.fstat(self.file(slot)).st_mode):
            return None
        return os.lseek(self.file(slot), offset, whence)

    def ftruncate(self, slot, size):
        os.ftruncate(self.file(slot), size)

    def fstat(self, slot):
        return self.shown(os.fstat(self.file(slot)))

    def fchmod(self, slot, mode):
        """The kernel goes by the owner that it heard last (docs/promises.md, Kernels)."""
        os.fstat(self.file(slot))
        os.fchmod(self.file(slot), mode)

    def fsync(self, slot):
        os.fsync(self.file(slot))

    def link_open(self, slot, path):
        system.link_open(self.file(slot), os.path.join(self.files[slot][1], path))

    def stat(self, path):
        return self.shown(os.stat(self.path(path)))

    def lstat(self, path):
        return self.shown(os.lstat(self.path(path)))

    def mkdir(self, path, mode):
        os.mkdir(self.path(path), mode)

    def rmdir(self, path):
        os.rmdir(self.path(path))

    def unlink(self, path):
        os.unlink(self.path(path))

    def mkfifo(self, path, mode):
        os.mkfifo(self.path(path), mode)

    def symlink(self, target, path):
        os.symlink(target, self.path(path))

    def readlink(self, path):
        return os.readlink(self.path(path))

    def link(self, path, new):
        one, other = self.pair(path, new)
        os.link(one, other, follow_symlinks=False)

    def rename(self, path, new, flags):
        one, other = self.pair(path, new)
        system.renameat2(one, other, sum(NAME_BITS[flag] for flag in flags))

    def pair(self, path, new):
        """Both names on one mount."""
        one = self.path(path)
        return one, os.path.join(self.top(), new)

    def top(self):
        """Of the mount to which the last call went."""
        return self.tops[self.turn % len(self.tops)]

    def chmod(self, path, mode):
        os.chmod(self.path(path), mode)

    def chown(self, path, uid, gid):
        # Of nobody to nobody: who may is another matter while somebody has the file open (docs/promises.md, Kernels).
        if uid == -1 and gid == -1:
            return
        os.lchown(self.path(path), uid, gid)

    def truncate(self, path, size):
        os.truncate(self.path(path), size)

    def utimens(self, path, atime, mtime):
        place = self.path(path)
        os.utime(place, ns=(atime, mtime), follow_symlinks=False)
        found = os.lstat(place)
        return [found.st_atime_ns, found.st_mtime_ns]

    def access(self, path, mode):
        return os.access(self.path(path), mode, effective_ids=True)

    def list(self, path):
        return sorted(os.listdir(self.path(path)))

    def setxattr(self, path, name, byte, length, flags):
        os.setxattr(self.path(path), name, bytes([byte]) * length, flags, follow_symlinks=False)

    def getxattr(self, path, name):
        return os.getxattr(self.path(path), name, follow_symlinks=False).hex()

    def removexattr(self, path, name):
        os.removexattr(self.path(path), name, follow_symlinks=False)

    def set_acl(self, path, which, uid, bits):
        """An ACL with one named user."""
        import struct

        entries = [(1, 7, -1), (2, bits, uid), (4, 5, -1), (16, 7, -1), (32, bits & 5, -1)]
        value = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
        os.setxattr(self.path(path), f"system.posix_acl_{which}", value, follow_symlinks=False)

    def left(self):
        """All that is there, by name, with content."""
        found = {}
        inodes = {}  # local file systems give a number again, so only what is there at one time can be told apart
        for directory, names, files in os.walk(self.tops[0]):
            names.sort()
            for name in sorted(names + files):
                place = os.path.join(directory, name)
                status = os.lstat(place)
                shown = [inodes.setdefault(status.st_ino, len(inodes)), *self.shown(status)]
                if stat.S_ISLNK(status.st_mode):
                    shown.append(os.readlink(place))
                elif stat.S_ISREG(status.st_mode):
                    shown.append(suite.read(place).hex())
                if not stat.S_ISFIFO(status.st_mode):
                    names_set = sorted(os.listxattr(place, follow_symlinks=False))
                    shown.append([(one, os.getxattr(place, one, follow_symlinks=False).hex()) for one in names_set])
                found[os.path.relpath(place, self.tops[0])] = shown
        return found


def attempt(sequence, user, name, arguments):
    become(user)
    try:
        return {"value": getattr(sequence, name)(*arguments)}
    except OSError as error:
        return {"error": errno.errorcode.get(error.errno, str(error.errno))}
    finally:
        become(0)


def become(number):
    uid, gid, groups = USERS[number]
    if os.geteuid() != 0:
        os.seteuid(0)
    os.setegid(gid)
    os.setgroups(groups)
    os.seteuid(uid)


def run(directories, name, calls):
    tops = [os.path.join(directory, name) for directory in directories]
    os.mkdir(tops[0])
    os.chmod(tops[0], 0o777)
    sequence = Sequence(tops)
    try:
        results = [attempt(sequence, *call) for call in calls]
        results.append(sequence.left())
    finally:
        closed = [attempt(sequence, 0, "close", [slot]) for slot in list(sequence.files)]
        shutil.rmtree(tops[0])
    return [*results, closed]


if __name__ == "__main__":
    os.umask(0o022)
    for line in sys.stdin:
        request = json.loads(line)
        answer = run(sys.argv[1:], request["name"], [(call[0], call[1], call[2:]) for call in request["calls"]])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
