"""inotify(7) where the change is made."""
import ctypes
import os
import struct

from calls import checked, libc
from suite import case, equal, true

names = {
    0x1: "ACCESS", 0x2: "MODIFY", 0x4: "ATTRIB", 0x8: "CLOSE_WRITE", 0x10: "CLOSE_NOWRITE", 0x20: "OPEN",
    0x40: "MOVED_FROM", 0x80: "MOVED_TO", 0x100: "CREATE", 0x200: "DELETE", 0x400: "DELETE_SELF", 0x800: "MOVE_SELF",
}  # fmt: skip


class Watch:
    def __init__(self, path, mask=0xFFF):
        self.descriptor = checked(libc.inotify_init1(os.O_NONBLOCK))
        checked(libc.inotify_add_watch(self.descriptor, os.fsencode(path), ctypes.c_uint32(mask)))

    def events(self):
        found = []
        try:
            content = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return found
        while content:
            _watch, mask, _cookie, length = struct.unpack_from("iIII", content)
            name = content[16 : 16 + length].rstrip(b"\0").decode()
            found.append((names.get(mask & 0xFFF, hex(mask)), name))
            content = content[16 + length :]
        return found


@case
def of_directories(place):
    """A watch on a directory tells what is made, written, renamed, changed and removed in it"""
    watch = Watch(place.path, 0xFC6 | 0x8)
    with open(place / "f", "wb") as file:
        file.write(b"x")
    equal(watch.events(), [("CREATE", "f"), ("MODIFY", "f"), ("CLOSE_WRITE", "f")])
    os.chmod(place / "f", 0o600)
    os.rename(place / "f", place / "g")
    os.unlink(place / "g")
    os.mkdir(place / "d")
    os.rmdir(place / "d")
    found = watch.events()
    wanted = [("ATTRIB", "f"), ("MOVED_FROM", "f"), ("MOVED_TO", "g"), ("DELETE", "g"), ("CREATE", "d"), ("DELETE", "d")]
    equal(found, wanted)


@case
def of_files(place):
    """A watch on a file tells of writes, attributes, moves and its end"""
    path = place.file("f")
    watch = Watch(path, 0xC46)
    with open(path, "r+b", buffering=0) as file:
        file.write(b"x")
        file.truncate(0)
    os.rename(path, place / "g")
    os.unlink(place / "g")
    found = [event for event, _name in watch.events()]
    for event in ("MODIFY", "MOVE_SELF", "ATTRIB", "DELETE_SELF"):
        true(event in found, f"{event} is not in {found}")
