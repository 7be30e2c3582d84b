"""
The timed part of a figure, on any mounted directory: work.py NAME ARGUMENTS. Prints one number: seconds, or operations,
or MiB a second. ROOT is the mount's root: its fsync, inside the time, is the proof that everything is on the disks.
"""
import os
import sys
import time

name, arguments = sys.argv[1], sys.argv[2:]
piece = os.urandom(1 << 20)
small = piece[:4096]


def sync(root):
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(descriptor)
    os.close(descriptor)


def rate(count, work):
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def create(path, synced):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(descriptor, small)
    if synced:
        os.fsync(descriptor)
    os.close(descriptor)


def create_files(root, directory, count):
    def work():
        for number in range(count):
            create(f"{directory}/f{number}", False)
        sync(root)

    return rate(count, work)


def create_synced(_root, directory, count, processes):
    def work():
        children = []
        for process in range(processes):
            child = os.fork()
            if child == 0:
                for number in range(count // processes):
                    create(f"{directory}/p{process}-{number}", True)
                os._exit(0)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0

    return rate(count, work)


def rename_files(root, directory, count):
    def work():
        for number in range(count):
            os.rename(f"{directory}/f{number}", f"{directory}/g{number}")
        sync(root)

    return rate(count, work)


def unlink_files(root, directory, count):
    names = os.listdir(directory)
    assert len(names) == count

    def work():
        for one in names:
            os.unlink(f"{directory}/{one}")
        sync(root)

    return rate(count, work)


def stat_files(_root, directory, count):
    def work():
        for number in range(count):
            os.stat(f"{directory}/f{number}")

    return rate(count, work)


def open_files(_root, directory, count):
    def work():
        for number in range(count):
            descriptor = os.open(f"{directory}/f{number}", os.O_RDONLY)
            assert len(os.read(descriptor, 8192)) == 4096
            os.close(descriptor)

    return rate(count, work)


def write_file(_root, path, mebibytes):
    def work():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for _ in range(mebibytes):
            os.write(descriptor, piece)
        os.fsync(descriptor)
        os.close(descriptor)

    return rate(mebibytes * 1.048576, work)


def read_file(_root, path, mebibytes):
    def work():
        descriptor = os.open(path, os.O_RDONLY)
        buffer, total = bytearray(1 << 20), 0
        while count := os.readv(descriptor, [buffer]):
            total += count
        os.close(descriptor)
        assert total == mebibytes << 20

    return rate(mebibytes * 1.048576, work)


def hand_over(_root, one, other, kind, count):
    """Two mounts take turns: each call needs the lease that the other holds, with one thing in it not yet written back."""
    taken = []
    if kind == "data":
        files = [os.open(path, os.O_RDWR | os.O_CREAT, 0o644) for path in (f"{one}/turns", f"{other}/turns")]
    for number in range(count + 20):
        start = time.perf_counter()
        if kind == "data":
            os.pwrite(files[number % 2], small, 0)
        else:
            os.mknod(f"{(one, other)[number % 2]}/{number}")
        taken.append((time.perf_counter() - start) * 1000)
    taken = sorted(taken[20:])
    print(f"{taken[len(taken) // 2]} {taken[len(taken) * 99 // 100]}")


def hand_over_busy(_root, one, other, count):
    """One mount makes files and overwrites a page by turns for a second; then the other removes the last file."""
    page = os.open(f"{one}/page", os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(page, bytes(65536), 0)
    taken = []
    for turn in range(count):
        end = time.perf_counter() + 1
        number = 0
        while time.perf_counter() < end:
            os.mknod(f"{one}/{turn}-{number}")
            os.pwrite(page, small[:100], 4096 * (number % 16))
            number += 1
        start = time.perf_counter()
        os.unlink(f"{other}/{turn}-{number - 1}")
        taken.append((time.perf_counter() - start) * 1000)
    print(f"{sorted(taken)[count // 2]} {max(taken)}")


works = {
    "create": create_files,
    "createSynced": create_synced,
    "rename": rename_files,
    "unlink": unlink_files,
    "stat": stat_files,
    "open": open_files,
    "write": write_file,
    "read": read_file,
    "handOver": hand_over,
    "handOverBusy": hand_over_busy,
}
result = works[name](*(int(one) if one.isdigit() else one for one in arguments))
if result is not None:
    print(result)
