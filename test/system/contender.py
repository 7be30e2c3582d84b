"""
One of several processes, on several mounts, that fight for the same directory, page or log until the time is over or
standard input ends: contender.py MODE DIRECTORY NAME SECONDS SEED. Prints what it did as one line of JSON: what must
be true of the end state follows from the sum over all contenders.
"""
import ctypes
import errno
import json
import mmap
import os
import random
import select
import sys
import time
import zlib

mode, directory, me, seconds, seed = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5])
chance = random.Random(seed)
libc = ctypes.CDLL(None, use_errno=True)
durations = []
slowest = (0.0, "")
long_waits = []
# An operation that takes so long has waited for something: the test may want to know when.
LONG_SECONDS = 0.25


def timed(what, call, *arguments):
    """The value of a call; a name that is missing, or there, is a part of the fight and gives the error's number."""
    global slowest
    start = time.monotonic()
    try:
        return call(*arguments)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EEXIST):
            raise
        return -error.errno
    finally:
        taken = time.monotonic() - start
        durations.append(taken)
        if taken > slowest[0]:
            slowest = (taken, what)
        if taken >= LONG_SECONDS:
            now = time.time() * 1000
            long_waits.append({"what": what, "fromMs": now - taken * 1000, "toMs": now})


def go_on(end):
    if time.monotonic() > end:
        return False
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return not ready


def rename_new(old, new):
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), 1) != 0:
        raise OSError(ctypes.get_errno(), new)
    return 0


def fight_for_names(end):
    """Files are made, moved and removed under few names. Each has its own content, so none can be there twice."""
    made, removed = [], 0
    while go_on(end):
        one, other = (f"{directory}/n{chance.randrange(24)}" for _ in range(2))
        choice = chance.randrange(4)
        if choice <= 1:
            descriptor = timed("create", os.open, one, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            if descriptor < 0:
                continue
            content = f"{me}-{len(made)}"
            timed("write", os.write, descriptor, content.encode())
            timed("close", os.close, descriptor)
            made.append(content)
        elif choice == 2:
            removed += timed("unlink", os.unlink, one) is None
        else:
            timed("rename", rename_new, one, other)
    return {"made": made, "removed": removed}


def fight_for_page(end):
    """256 records of 16 bytes in one page. Half belong to one contender each, half to all."""
    descriptor = os.open(f"{directory}/page", os.O_RDWR | os.O_CREAT, 0o644)
    mine = [slot for slot in range(128, 256) if slot % 4 == int(me)]
    last = {}
    count = 0
    while go_on(end):
        slot = chance.choice(mine) if chance.randrange(2) else chance.randrange(128)
        record = f"{me}{slot:03d}{count:012d}"
        count += 1
        timed("pwrite", os.pwrite, descriptor, record.encode(), slot * 16)
        last[slot] = record
        slot = chance.choice(mine)
        if slot in last:
            seen = timed("pread", os.pread, descriptor, 16, slot * 16).decode("latin-1")
            if seen != last[slot]:
                raise AssertionError(f"record {slot} is {seen!r} after {last[slot]!r} was written")
    timed("close", os.close, descriptor)
    return {"last": last, "count": count}


def fight_for_memory(end):
    """The page again, by memory: each contender stores into its own records, and now and then syncs them."""
    descriptor = os.open(f"{directory}/memory", os.O_RDWR)
    memory = mmap.mmap(descriptor, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    mine = [slot for slot in range(256) if slot % 4 == int(me)]
    last = {}
    count = 0

    def store(slot, record):
        memory[slot * 16 : slot * 16 + 16] = record.encode()

    while go_on(end):
        slot = chance.choice(mine)
        record = f"{me}{slot:03d}{count:012d}"
        count += 1
        timed("store", store, slot, record)
        last[slot] = record
        if chance.randrange(4) == 0:
            timed("msync", memory.flush)
        slot = chance.choice(mine)
        seen = timed("load", lambda: bytes(memory[slot * 16 : slot * 16 + 16]).decode("latin-1"))
        if slot in last and seen != last[slot]:
            raise AssertionError(f"record {slot} in memory is {seen!r} after {last[slot]!r} was stored")
    timed("msync", memory.flush)
    return {"last": last, "count": count}


def append_lines(end):
    """Lines of one byte to some pages, each with its number and checksum, each one write."""
    descriptor = os.open(f"{directory}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    count = 0
    while go_on(end):
        body = f"{me} {count} {'x' * chance.choice([0, chance.randrange(100), chance.randrange(9000)])}"
        line = f"{body} {zlib.crc32(body.encode()):08x}\n".encode()
        if timed("append", os.write, descriptor, line) != len(line):
            raise AssertionError("a short append")
        count += 1
    timed("close", os.close, descriptor)
    return {"count": count}


work = {"names": fight_for_names, "page": fight_for_page, "memory": fight_for_memory, "log": append_lines}[mode]
result = work(time.monotonic() + seconds)
durations.sort()
result["operations"] = len(durations)
result["medianMs"] = durations[len(durations) // 2] * 1000
result["p99Ms"] = durations[len(durations) * 99 // 100] * 1000
result["slowestMs"], result["slowest"] = slowest[0] * 1000, slowest[1]
result["longWaits"] = long_waits
print(json.dumps(result))
