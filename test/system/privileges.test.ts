/** What vouched for a file's content or owner goes with them: set-id bits, and its capabilities, on every mount. */
import { test } from "node:test";
import { Cluster, shell, whyNoMount } from "./cluster.ts";

const script = `
import os, struct, sys
here, there = sys.argv[1], sys.argv[2]
capability = struct.pack("<IIIII", 0x02000000, 1 << 10, 0, 0, 0)  # cap_net_bind_service, linux/capability.h

def has(path):
    try:
        return os.getxattr(path, "security.capability") == capability
    except OSError:
        return False

def change(name, work):
    one, other = f"{here}/{name}", f"{there}/{name}"
    with open(one, "w") as file:
        file.write("program")
    os.setxattr(one, "security.capability", capability)
    os.setxattr(one, "user.note", b"stays")
    assert has(other), f"{name}: not set"
    work(one)
    assert os.getxattr(other, "user.note") == b"stays", name
    return has(one), has(other)

def append(path):
    with open(path, "a") as file:
        file.write("more")

def overwrite(path):
    descriptor = os.open(path, os.O_WRONLY)
    os.pwrite(descriptor, b"P", 0)
    os.close(descriptor)

for name, work in {
    "append": append,
    "overwrite": overwrite,
    "truncate": lambda path: os.truncate(path, 3),
    "open-truncate": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC)),
    "chown": lambda path: os.chown(path, 1, -1),
    "chgrp": lambda path: os.chown(path, -1, 1),
}.items():
    assert change(name, work) == (False, False), name
for name, work in {"chmod": lambda path: os.chmod(path, 0o755), "utime": lambda path: os.utime(path, (1, 1))}.items():
    assert change(name, work) == (True, True), name
`;

test("capabilities of a file go when it is written, truncated or given away", {
  skip: whyNoMount(),
}, async (context) => {
  const cluster = await Cluster.start(context);
  const [here, there] = [await cluster.mount("here"), await cluster.mount("there")];
  await shell(`python3 - ${here.point} ${there.point} <<'EOS'\n${script}\nEOS`);
});
