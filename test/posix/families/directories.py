"""opendir(3), readdir(3), telldir(3), seekdir(3), getdents(2)."""
import os

from calls import Stream
from suite import case, equal, exists, true


def made(place, count, prefix="f"):
    directory = place.directory("d")
    names = [f"{prefix}{number:05}" for number in range(count)]
    for name in names:
        os.close(os.open(f"{directory}/{name}", os.O_CREAT | os.O_WRONLY))
    return directory, names


@case
def lists(place):
    """A stream has `.` and `..` and each entry once, with its inode and type"""
    os.mkdir(place / "dir")
    place.file("file")
    os.symlink("x", place / "link")
    os.mkfifo(place / "fifo")
    stream = Stream(place.path)
    found = {}
    while (entry := stream.next()) is not None:
        true(entry[0] not in found, f"{entry[0]} twice")
        found[entry[0]] = entry[1:]
    equal(sorted(found), [".", "..", "dir", "fifo", "file", "link"])
    for name, kind in (("dir", 4), ("file", 8), ("link", 10), ("fifo", 1), (".", 4), ("..", 4)):
        true(found[name][1] in (kind, 0), f"type of {name}")
        equal(found[name][0], os.lstat(place / name).st_ino, f"inode of {name}")


@case
def positions(place):
    """telldir and seekdir: from each place the same entries follow as before"""
    directory, _names = made(place, 300)
    stream = Stream(directory)
    places, order = [], []
    while True:
        position = stream.tell()
        entry = stream.next()
        if entry is None:
            break
        places.append(position)
        order.append(entry[0])
    for index in (0, 1, 2, 3, 150, 299, 301, 17):
        stream.seek(places[index])
        equal(stream.next()[0], order[index], f"entry {index}")
    stream.rewind()
    equal(len(stream.rest()), 300, "after rewinddir")


@case
def changes(place):
    """Entries that are there all the time are listed once, whatever is made, removed and renamed meanwhile"""
    directory, names = made(place, 3_000)
    stream = Stream(directory)
    seen = [stream.next()[0] for _entry in range(100)]
    stays = set(names[::2])
    for number, name in enumerate(names):
        if name in stays:
            continue
        if number % 3 == 0:
            os.unlink(f"{directory}/{name}")
        elif number % 3 == 1:
            os.rename(f"{directory}/{name}", f"{directory}/renamed-{name}")
        else:
            os.close(os.open(f"{directory}/new-{name}", os.O_CREAT | os.O_WRONLY))
    seen += stream.rest()
    for name in stays:
        equal(seen.count(name), 1, f"{name} is listed")
    for name in set(seen):
        equal(seen.count(name), 1, f"{name} is listed")


@case
def removing_while_listing(place):
    """All entries go if each is removed as it comes (rm -r)"""
    directory, names = made(place, 2_000)
    stream = Stream(directory)
    removed = 0
    while (entry := stream.next()) is not None:
        if entry[0] not in (".", ".."):
            os.unlink(f"{directory}/{entry[0]}")
            removed += 1
    equal(removed, len(names), "removed")
    os.rmdir(directory)


@case
def rewinding(place):
    """rewinddir shows what has come and gone since"""
    directory, names = made(place, 10)
    stream = Stream(directory)
    stream.rest()
    os.unlink(f"{directory}/{names[0]}")
    os.close(os.open(f"{directory}/new", os.O_CREAT | os.O_WRONLY))
    stream.rewind()
    equal(sorted(stream.rest()), sorted([*names[1:], "new"]))


@case
def seeking_to_removed(place):
    """seekdir to an entry that was removed goes on with the next one"""
    directory, _names = made(place, 50)
    stream = Stream(directory)
    for _entry in range(20):
        stream.next()
    position = stream.tell()
    gone = stream.next()[0]
    rest = stream.rest()
    if gone not in (".", ".."):
        os.unlink(f"{directory}/{gone}")
    stream.seek(position)
    equal(stream.rest(), rest, "the rest")


@case
def by_descriptor(place):
    """A directory's descriptor goes with it wherever it is moved: fdopendir, openat, fstat, fchdir"""
    os.makedirs(place / "a/b")
    descriptor = os.open(place / "a/b", os.O_RDONLY | os.O_DIRECTORY)
    os.rename(place / "a", place / "c")
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    equal(os.listdir(descriptor), ["f"])
    true(exists(place / "c/b/f"), "made below the new name")
    os.fchdir(descriptor)
    equal(os.getcwd(), place / "c/b", "getcwd")


@case
def many(place):
    """A million entries (long form; 5,000 in the short one) are made, listed, found and removed"""
    count = 1_000_000 if place.is_full else 5_000
    directory, names = made(place, count)
    equal(len(set(os.listdir(directory))), count, "entries")
    for name in names[:: count // 100]:
        true(exists(f"{directory}/{name}"), name)
    for name in names:
        os.unlink(f"{directory}/{name}")
    equal(os.listdir(directory), [])
    os.rmdir(directory)
