"""
Programs that rely on advisory locks: lockers.py counter FILE COUNT KIND, or lockers.py sqlite FILE COUNT NAME. Several run
at the same time on several mounts.
"""
import os
import sqlite3
import sys

import locking

work, path, count, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

def count_up():
    """Read, add one, write: exact only if the lock keeps everybody else out."""
    descriptor = os.open(path, os.O_RDWR)
    for _ in range(count):
        locking.change(descriptor, last, "exclusive", 0, 8, "wait")
        value = int(os.pread(descriptor, 8, 0))
        os.pwrite(descriptor, b"%08d" % (value + 1), 0)
        locking.change(descriptor, last, "none", 0, 8, "wait")


def insert():
    database = sqlite3.connect(path, timeout=60, isolation_level=None)
    database.execute("pragma journal_mode = delete")
    for number in range(count):
        database.execute("begin immediate")
        (total,) = database.execute("select value from total").fetchone()
        database.execute("insert into line values (?, ?, ?)", (last, number, "x" * (number * 37 % 900)))
        database.execute("update total set value = ?", (total + 1,))
        database.execute("commit")


count_up() if work == "counter" else insert()
