"""
Appends lines to one file, with RWF_APPEND (pwritev2) or O_APPEND, and prints what is in it at the end.

    python3 appending.py turns COUNT WAY PATH...     one process, the paths in turn
    python3 appending.py together COUNT WAY PATH...  a process for each path, at the same time

All paths are the same file, on one mount or on several. WAY is flag or open. A line is `WRITER NUMBER`.
"""
import os
import sys

how, count, way, paths = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]


def opened(path):
    return os.open(path, os.O_RDWR | os.O_CREAT | (os.O_APPEND if way == "open" else 0), 0o644)


def append(file, writer, number):
    line = b"%d %d\n" % (writer, number)
    if way == "open":
        os.write(file, line)
    else:
        os.pwritev(file, [line], 0, os.RWF_APPEND)


if how == "turns":
    files = [opened(path) for path in paths]
    for number in range(count):
        for writer, file in enumerate(files):
            append(file, writer, number)
else:
    os.close(opened(paths[0]))
    children = []
    for writer, path in enumerate(paths):
        child = os.fork()
        if child == 0:
            file = opened(path)
            for number in range(count):
                append(file, writer, number)
            os._exit(0)
        children.append(child)
    for child in children:
        if os.waitpid(child, 0)[1] != 0:
            sys.exit("a writer has failed")
with open(paths[0]) as file:
    sys.stdout.write(file.read())
