"""
Works on a mount while clients and servers are stopped, killed and cut off:

    chaos-worker.py work DIRECTORY JOURNALS NAME SEED     until standard input ends
    chaos-worker.py check DIRECTORY JOURNALS              prints what is wrong, a line each

A worker gives each of its files one version after the other: by writing over it, by renaming another over it, or by
unlinking it ("absent" is a version, too). Before it begins a version it notes it in its journal (outside the mount),
and again when an fsync has promised it. So the state of a file must at any time be a version begun, no older than the
last promised one. A file that is written over may be torn between versions at blocks, never within. Errors are what a
mount may give while it is cut off; the worker then goes on with another version.
"""
import errno
import os
import random
import select
import sys
import time
import zlib

BLOCK = 4096
FILES = 12
tolerated = (errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT, errno.ENOSYS, errno.EINTR, errno.ENOSPC)


def block_of(name, version, index):
    return f"{name} {version:08d} {index:04d} ".encode().ljust(64, b".") * (BLOCK // 64)


class Journal:
    """What a worker has begun and what was promised to it; read by all."""

    def __init__(self, path):
        self.path = path
        self.begun = {}  # name -> [(version, blocks)], blocks 0 for absent, in order
        self.promised = {}  # name -> version
        self.lines = set()  # numbers of the log's lines that were promised
        self.attempted = 0
        self.offset = 0

    def read(self):
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        self.offset += len(data)
        for line in data.decode().splitlines():
            word, *rest = line.split()
            if word == "begun":
                self.begun.setdefault(rest[0], [(0, 0)]).append((int(rest[1]), int(rest[2])))
            elif word == "promised":
                self.promised[rest[0]] = int(rest[1])
            elif word == "line":
                self.lines.add(int(rest[0]))
            elif word == "lines-begun":
                self.attempted = int(rest[0])

    def is_possible(self, name, promised, content):
        """None, or what is wrong with a file of which version `promised` was promised before it was read."""
        begun = self.begun.get(name, [(0, 0)])
        allowed = {version: blocks for version, blocks in begun if version >= promised}
        if content is None:
            return None if 0 in allowed.values() else f"is missing, version {promised} was promised"
        if len(content) == 0:
            made = any(blocks > 0 and before == 0 and version >= promised
                       for (_, before), (version, blocks) in zip(begun, begun[1:]))
            return None if made else f"is empty, version {promised} was promised"
        if len(content) % BLOCK != 0:
            return f"has {len(content)} bytes"
        for index in range(len(content) // BLOCK):
            block = content[index * BLOCK : (index + 1) * BLOCK]
            words = block[:64].split()
            if len(words) < 3 or not words[1].isdigit():
                return f"has block {index} with {block[:40]!r}"
            version = int(words[1])
            if block != block_of(name, version, index):
                return f"has a block {index} torn within: {block[:40]!r}"
            if version not in allowed:
                return f"has block {index} of version {version}, promised is {promised}, begun {max(allowed)}"
            if allowed[version] != len(content) // BLOCK:
                return f"has {len(content) // BLOCK} blocks and version {version}"
        return None


def read_file(directory, name):
    """
    The content, or None where the name isn't there. The directory is opened first: where it is gone, the mount is, and a
    mount that dies in between gives ENOTCONN and not "no such file".
    """
    parent = os.open(directory, os.O_RDONLY)
    try:
        descriptor = os.open(name, os.O_RDONLY, dir_fd=parent)
    except FileNotFoundError:
        return None
    finally:
        os.close(parent)
    try:
        return os.read(descriptor, 64 * BLOCK)
    finally:
        os.close(descriptor)


class Worker:
    def __init__(self, directory, journals, me, seed):
        self.directory, self.me, self.chance = directory, me, random.Random(seed)
        self.journals = journals
        self.file = open(f"{journals}/{me}", "ab", buffering=0)
        self.mine = Journal(f"{journals}/{me}")
        self.others = {}
        self.version = 0
        self.line = 0
        self.wrong = []
        self.done = {"operations": 0, "errors": 0}

    def note(self, line):
        self.file.write(f"{line}\n".encode())

    def begin(self, name, blocks):
        self.version += 1
        self.note(f"begun {name} {self.version} {blocks}")
        return b"".join(block_of(name, self.version, index) for index in range(blocks))

    def write_over(self, name):
        blocks = 1 + zlib.crc32(name.encode()) % 8
        content = self.begin(name, blocks)
        descriptor = os.open(f"{self.directory}/{name}", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.pwrite(descriptor, content, 0)
            if self.chance.randrange(2):
                os.fsync(descriptor)
                self.note(f"promised {name} {self.version}")
        finally:
            os.close(descriptor)

    def replace(self, name):
        blocks = 1 + zlib.crc32(name.encode()) % 8
        content = self.begin(name, blocks)
        fresh = f"{self.directory}/{name}.{self.version}"
        parent = os.open(self.directory, os.O_RDONLY)
        try:
            descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            try:
                os.pwrite(descriptor, content, 0)
                promised = self.chance.randrange(2)
                if promised:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.rename(fresh, f"{self.directory}/{name}")
            if promised:
                os.fsync(parent)
                self.note(f"promised {name} {self.version}")
        finally:
            os.close(parent)

    def unlink(self, name):
        parent = os.open(self.directory, os.O_RDONLY)
        try:
            self.begin(name, 0)
            os.unlink(f"{self.directory}/{name}")
            if self.chance.randrange(2):
                os.fsync(parent)
                self.note(f"promised {name} {self.version}")
        finally:
            os.close(parent)

    def append(self):
        self.line += 1
        self.note(f"lines-begun {self.line}")
        body = f"{self.me} {self.line} {'x' * self.chance.randrange(200)}"
        descriptor = os.open(f"{self.directory}/log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, f"{body} {zlib.crc32(body.encode()):08x}\n".encode())
            if self.chance.randrange(2):
                os.fsync(descriptor)
                self.note(f"line {self.line}")
        finally:
            os.close(descriptor)

    def look(self):
        """At a file of anyone's: it must be as new as what was promised before the look."""
        who = self.chance.choice([one for one in os.listdir(self.journals)])
        journal = self.others.setdefault(who, Journal(f"{self.journals}/{who}"))
        journal.read()
        name = f"{who}-{self.chance.randrange(FILES)}"
        promised = journal.promised.get(name, 0)
        content = read_file(self.directory, name)
        journal.read()
        wrong = journal.is_possible(name, promised, content)
        if wrong:
            self.wrong.append(f"{time.monotonic():.3f} {self.me} looks: {name} {wrong}")

    def step(self):
        choice = self.chance.randrange(10)
        name = f"{self.me}-{self.chance.randrange(FILES)}"
        if choice < 3:
            self.write_over(name)
        elif choice < 5:
            self.replace(name)
        elif choice < 6:
            self.unlink(name)
        elif choice < 7:
            self.append()
        else:
            self.look()

    def run(self):
        while not select.select([sys.stdin], [], [], 0)[0]:
            try:
                self.step()
                self.done["operations"] += 1
            except OSError as error:
                if error.errno not in tolerated:
                    raise
                self.done["errors"] += error.errno != errno.ENOENT
                time.sleep(0.02)
        for line in self.wrong:
            print(line)
        print(f"done {self.done['operations']} {self.done['errors']}")


def check(directory, journals):
    whole = {}
    for who in sorted(os.listdir(journals)):
        journal = whole[who] = Journal(f"{journals}/{who}")
        journal.read()
        for name in [f"{who}-{number}" for number in range(FILES)]:
            wrong = journal.is_possible(name, journal.promised.get(name, 0), read_file(directory, name))
            if wrong:
                print(f"{name} {wrong}")
    check_log(directory, whole)


def check_log(directory, journals):
    found = {who: [] for who in journals}
    path = f"{directory}/log"
    lines = open(path, "rb").read().decode("latin-1").split("\n") if os.path.exists(path) else [""]
    for number, line in enumerate(lines[:-1]):
        body, checksum = line[:-9], line[-8:]
        if f"{zlib.crc32(body.encode('latin-1')):08x}" != checksum:
            print(f"line {number} of the log is torn: {line[:60]!r}")
            continue
        found[body.split()[0]].append(int(body.split()[1]))
    if lines[-1]:
        print(f"the log ends in the middle of a line: {lines[-1][:60]!r}")
    for who, journal in journals.items():
        if found[who] != sorted(set(found[who])):
            print(f"lines of {who} are out of order or twice")
        lost = journal.lines - set(found[who])
        if lost:
            print(f"promised lines of {who} are lost: {sorted(lost)[:10]}")
        if found[who] and max(found[who]) > journal.attempted:
            print(f"the log has line {max(found[who])} of {who}, which was never written")


if sys.argv[1] == "work":
    Worker(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])).run()
else:
    check(sys.argv[2], sys.argv[3])
