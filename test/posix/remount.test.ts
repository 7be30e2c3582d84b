/** What outlives a mount, or reaches the other: ACLs, handles of files (open_by_handle_at(2)), and files that others have open and whose client dies. */
import { strict as assert } from "node:assert";
import { chmodSync } from "node:fs";
import { test } from "node:test";
import { Agent } from "../system/agent.ts";
import { Cluster, root, scratch, shell, waitFor, whyNoMount } from "../system/cluster.ts";

const skip = whyNoMount() ?? false;

test("a handle opens its file on another mount and after a remount", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const [one, two] = [await cluster.mount("one"), await cluster.mount("two")];
  const python = (code: string) =>
    shell(`PYTHONPATH='${root}/test/posix' python3 -B - <<'EOS'\nimport os, struct\nfrom calls import *\n${code}\nEOS`);
  await shell(`mkdir -p '${one.point}/a/b' && printf content > '${one.point}/a/b/f'`);
  const handle = (await python(`print(name_to_handle_at('${one.point}/a/b/f')[0].hex())`)).trim();
  await shell(`mv '${one.point}/a' '${one.point}/moved'`);
  const read = (point: string) =>
    python(`
top = os.open('${point}', os.O_RDONLY)
print(os.read(open_by_handle_at(top, bytes.fromhex('${handle}'), os.O_RDONLY), 100).decode())`);
  assert.equal((await read(two.point)).trim(), "content");
  await one.unmount();
  const again = await cluster.mount("one");
  assert.equal((await read(again.point)).trim(), "content");
  await shell(`rm -r '${two.point}/moved'`);
  const gone = await python(`
top = os.open('${again.point}', os.O_RDONLY)
try:
    open_by_handle_at(top, bytes.fromhex('${handle}'), os.O_RDONLY)
except OSError as error:
    print(error.errno)`);
  assert.equal(gone.trim(), "116"); // ESTALE
});

test("a handle of what was just made opens it on another mount", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const [one, two] = [await cluster.mount("one"), await cluster.mount("two")];
  await shell(`PYTHONPATH='${root}/test/posix' python3 -B - <<'EOS'
import os
from calls import *
from suite import fails, write
top = os.open('${two.point}', os.O_RDONLY)
for round in range(50):
    os.makedirs(f'${one.point}/{round}/d')
    write(f'${one.point}/{round}/d/f', b'content')
    file, directory = (name_to_handle_at(f'${one.point}/{round}/d{rest}')[0] for rest in ('/f', ''))
    os.rename(f'${one.point}/{round}', f'${one.point}/moved {round}')
    assert os.listdir(open_by_handle_at(top, directory, os.O_RDONLY | os.O_DIRECTORY)) == ['f']
    opened = open_by_handle_at(top, file, os.O_RDWR)
    assert os.read(opened, 100) == b'content'
    os.write(opened, b'!')
    write(f'${one.point}/{round}', b'')
    gone = name_to_handle_at(f'${one.point}/{round}')[0]
    os.unlink(f'${one.point}/{round}')
    fails('ESTALE', open_by_handle_at, top, gone, os.O_RDONLY)
EOS`);
});

test("a file that another mount has open outlives its names, and the client that removed it", {
  skip,
}, async (context) => {
  const cluster = await Cluster.start(context);
  const [one, two] = [await cluster.mount("one"), await cluster.mount("two")];
  const [here, there] = [new Agent(context, "here"), new Agent(context, "there")];
  await here.do("writeFile", `${one.point}/f`, "content");
  const open = await there.do("open", `${two.point}/f`);
  await here.do("unlink", `${one.point}/f`);
  await here.do("syncDirectory", one.point);
  await one.kill();
  assert.equal(await there.do("pread", open, 100, 0), "content");
  assert.equal(await there.do("pwrite", open, "C", 0), 1);
  await there.do("fsync", open);
  assert.equal(await there.do("pread", open, 100, 0), "Content");
  assert.equal((await there.do("fstat", open)).links, 0);
  await there.do("close", open);
  const inodes = async () => Number((await shell(`df --output=iused '${two.point}' | tail -1`)).trim());
  await waitFor("the file to be reaped", async () => (await inodes()) <= 1, 30_000);
});

test("an ACL that is set or removed on one mount counts on the other at once", { skip }, async (context) => {
  const directory = scratch(context);
  chmodSync(directory, 0o755);
  const cluster = await Cluster.start(context, { directory });
  const [one, two] = [await cluster.mount("one"), await cluster.mount("two")];
  await shell(`PYTHONPATH='${root}/test/posix' python3 -B - <<'EOS'
import os
from suite import BOB, as_user, fails, read, write
from families.acl import ACCESS, acl, with_bob
here, there = '${one.point}/f', '${two.point}/f'
write(here, b'content')
os.chmod(here, 0o600)
for round in range(20):
    os.setxattr(here, ACCESS, acl(*with_bob(bits=4)))
    assert as_user(BOB, lambda: read(there)) == b'content'
    os.removexattr(here, ACCESS)
    os.chmod(here, 0o600)
    fails('EACCES', as_user, BOB, lambda: read(there))
EOS`);
});
