"""Works until it is killed; appends to the journal what it may rely on from then on: what an fsync has returned for.

usage: power-loss-work.py KIND DIRECTORY JOURNAL
"""
import os
import sys

kind, directory, journal_path = sys.argv[1:]
journal = os.open(journal_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
BLOCK = 4096
BLOCKS = 600  # more than two chunks' worth of requests, in one chunk map


def sync_directory():
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def done(number):
    os.write(journal, b"%d\n" % number)


def block(number):
    return (b"%d " % number).ljust(BLOCK, b"#")


def create(number):
    descriptor = os.open(f"{directory}/new{number}", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, block(number) * 3)
    os.fsync(descriptor)
    os.close(descriptor)


def replace(number):
    """As editors and databases do: write beside, sync, rename over, sync the directory."""
    descriptor = os.open(f"{directory}/beside", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, block(number))
    os.fsync(descriptor)
    os.close(descriptor)
    os.rename(f"{directory}/beside", f"{directory}/replaced")
    sync_directory()


def overwrite(number):
    """A large file in place: afterwards each block is of this round or of a later one."""
    descriptor = os.open(f"{directory}/file", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, block(number) * BLOCKS)
    os.fdatasync(descriptor)
    os.close(descriptor)


def remove(number):
    """Names that are gone stay gone."""
    path = f"{directory}/old{number}"
    open(path, "w").close()
    sync_directory()
    os.unlink(path)
    sync_directory()


step = {"create": create, "replace": replace, "overwrite": overwrite, "remove": remove}[kind]
number = 0
while True:
    number += 1
    step(number)
    done(number)
