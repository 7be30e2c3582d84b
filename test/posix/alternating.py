"""
The conformance suite over two mounts of one volume:

    python3 test/posix/alternating.py SEED KERNEL HERE THERE [FAMILY]...

Each line of a case that names a path goes to one of the two, as the seed says: what one line has done the next one must find on
the other mount. Calls with two paths get both on one mount, where the first of them is. KERNEL is 6.1 for mounts that keep to what it offers. Prints and ends as main.py does.
"""
import os
import random
import sys

import calls
import suite

if len(sys.argv) < 5:
    sys.exit(__doc__.strip())
SEED, KERNEL, HERE, THERE = *sys.argv[1:3], *(os.path.abspath(path) for path in sys.argv[3:5])

"""What a kernel knows of one mount only (docs/promises.md, Kernels): where working directories are, times of last access, who runs."""
OF_ONE_MOUNT = {
    "directories.by_descriptor",
    "mkdir_rmdir.removed_directory",
    "open.executing",
    "path_descriptors.gone_directory",
    "rename.link_counts_of_parents",
    "times.reading",
    "times.following",
}
"""Renames a directory that the other mount has moved, and that nobody has looked at since: ESTALE (docs/promises.md, Kernels)."""
WITHOUT_KEPT_NAMES = {"rename.exchange_links"}
FAMILIES_OF_ONE_MOUNT = {"inotify", "quota", "special_files"}


def chosen_path(place, name):
    """`place / name`, on the mount that the calling line has."""
    line = sys._getframe(1)
    path = os.path.join(place.path, name)
    is_there = random.Random(f"{SEED} {line.f_code.co_filename} {line.f_lineno}").random() < 0.5
    return moved(path, THERE) if is_there else path


def moved(path, mount):
    """The same path on this mount."""
    if mount is None:
        return path
    text = os.fsdecode(path)
    for one in (HERE, THERE):
        if text.startswith(f"{one}/"):
            text = mount + text[len(one) :]
            break
    return os.fsencode(text) if isinstance(path, bytes) else text


def mount_of(path, directory=None):
    """None for what is on neither."""
    text = os.fsdecode(path)
    if not text.startswith("/") and directory not in (None, calls.AT_FDCWD):
        text = os.readlink(f"/proc/self/fd/{directory}")
    if text.startswith("/proc/self/fd/") and os.path.lexists(text):
        text = os.readlink(text)
    return next((mount for mount in (HERE, THERE) if text.startswith(f"{mount}/")), None)


def on_one_mount(call):
    """os.rename and os.link."""

    def both(old, new, *, src_dir_fd=None, dst_dir_fd=None, **named):
        if dst_dir_fd is not None and src_dir_fd is None:
            old = moved(old, mount_of(new, dst_dir_fd))
        return call(
            old, moved(new, mount_of(old, src_dir_fd)), src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **named
        )

    both.__name__ = call.__name__
    return both


renameat2, linkat = calls.renameat2, calls.linkat


def renameat2_on_one(old, new, flags, old_directory=calls.AT_FDCWD, new_directory=calls.AT_FDCWD):
    renameat2(old, moved(new, mount_of(old, old_directory)), flags, old_directory, new_directory)


def linkat_on_one(old_directory, old, new_directory, new, flags):
    linkat(old_directory, old, new_directory, moved(new, mount_of(old, old_directory)), flags)


suite.Place.__truediv__ = chosen_path
os.rename, os.link = on_one_mount(os.rename), on_one_mount(os.link)
calls.renameat2, calls.linkat = renameat2_on_one, linkat_on_one


if __name__ == "__main__":
    import main

    choose = main.choose
    left_out = OF_ONE_MOUNT | (WITHOUT_KEPT_NAMES if KERNEL == "6.1" else set())

    def without_one_mounts(names):
        return [
            (family, function)
            for family, function in choose(names)
            if family not in FAMILIES_OF_ONE_MOUNT and f"{family}.{function.__name__}" not in left_out
        ]

    main.choose = without_one_mounts
    main.main([HERE, *sys.argv[5:]])
