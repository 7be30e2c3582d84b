"""name_to_handle_at(2), open_by_handle_at(2): stable handles, as an NFS server needs them."""
import os

from calls import name_to_handle_at, open_by_handle_at
from suite import case, equal, fails, read, true


def handle_of(place, path):
    try:
        return name_to_handle_at(path)[0]
    except OSError as error:
        place.needs(error.errno != 95, "no handles here")
        raise


@case
def opens(place):
    """A handle opens its file or directory, under whatever name it has now, for reading and writing"""
    place.needs_root()
    os.makedirs(place / "a/b")
    path = place.file("a/b/f", b"content")
    root = os.open(place.path, os.O_RDONLY | os.O_DIRECTORY)
    file, directory = handle_of(place, path), handle_of(place, place / "a/b")
    os.rename(place / "a", place / "c")
    descriptor = open_by_handle_at(root, file, os.O_RDWR)
    equal(os.read(descriptor, 100), b"content")
    os.pwrite(descriptor, b"C", 0)
    equal(read(place / "c/b/f"), b"Content")
    equal(os.listdir(open_by_handle_at(root, directory, os.O_RDONLY | os.O_DIRECTORY)), ["f"])
    fails("ENOTDIR", open_by_handle_at, root, file, os.O_RDONLY | os.O_DIRECTORY)
    equal(handle_of(place, place / "c/b/f"), file, "the handle stays the same")


@case
def stale(place):
    """A handle of a file that is gone, and its number's next owner, is ESTALE"""
    place.needs_root()
    path = place.file("f")
    root = os.open(place.path, os.O_RDONLY | os.O_DIRECTORY)
    handle = handle_of(place, path)
    os.unlink(path)
    place.file("f")
    fails("ESTALE", open_by_handle_at, root, handle, os.O_RDONLY)
    true(handle_of(place, path) != handle, "the new file has another handle")
