import { strict as assert } from "node:assert";
import { test } from "node:test";
import { MemoryFileSystem } from "../fuse/testing/memory-file-system.ts";
import type { TreeEntry } from "../platform/file-tree.ts";
import type { Credentials } from "./permissions.ts";
import { VolumeTree } from "./volume-tree.ts";

const root: Credentials = { uid: 0, gid: 0, groups: [] };
const alice: Credentials = { uid: 1001, gid: 1001, groups: [50] };

function entry(mode: number, type: TreeEntry["type"] = "file"): TreeEntry {
  return { type, size: 0, mode, mtimeNs: 1_000_000_007n };
}

async function* pieces(...texts: string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

async function textOf(tree: VolumeTree, path: string): Promise<string> {
  let text = "";
  for await (const piece of tree.read(path)) text += Buffer.from(piece).toString();
  return text;
}

interface Made {
  readonly files: MemoryFileSystem;
  readonly tree: VolumeTree;
  readonly as: (who: Credentials) => VolumeTree;
}

async function make(): Promise<Made> {
  const files = new MemoryFileSystem(() => 1n);
  const as = (who: Credentials) => new VolumeTree(files, who);
  const tree = as(root);
  await tree.makeDirectory("d");
  await tree.finishDirectory("d", entry(0o755, "directory"));
  await tree.write("d/f", entry(0o644), pieces("one ", "two"));
  return { files, tree, as };
}

test("what is written is read, listed and found, with its mode and time", async () => {
  const { tree } = await make();
  await tree.write("d/ä", entry(0o600), pieces("x"));
  assert.deepEqual(await tree.list("d"), ["f", "ä"]);
  assert.equal(await textOf(tree, "/d/./f"), "one two");
  assert.deepEqual(await tree.look("d/f", true), { ...entry(0o644), size: 7 });
  assert.equal(await tree.look("d/nothing", true), undefined);
  await tree.write("d/f", entry(0o644), pieces("3"));
  assert.equal(await textOf(tree, "d/f"), "3");
});

test("paths: symlinks, .. and what is no directory", async () => {
  const { tree } = await make();
  await tree.makeSymlink("d/here", "f");
  await tree.makeSymlink("to-d", "/d");
  await tree.makeSymlink("loop", "loop");
  assert.equal(await textOf(tree, "to-d/here"), "one two");
  assert.equal(await textOf(tree, "to-d/../to-d/f"), "one two");
  assert.equal(await textOf(tree, "../../d/f"), "one two");
  assert.equal((await tree.look("to-d", false))?.type, "symlink");
  assert.equal((await tree.look("to-d/", false))?.type, "directory");
  assert.equal(await tree.readLink("d/here"), "f");
  for (const [path, code] of [
    ["loop", "ELOOP"],
    ["d/f/g", "ENOTDIR"],
    ["d/f/", "ENOTDIR"],
    [`d/${"x".repeat(256)}`, "ENAMETOOLONG"],
  ] as const) {
    await assert.rejects(tree.look(path, true), { code }, path);
  }
  await tree.write("d/here", entry(0o644), pieces("through"));
  assert.equal(await textOf(tree, "d/f"), "through");
});

test("permissions are those of who asks", async () => {
  const { tree, as } = await make();
  await tree.makeDirectory("closed");
  await tree.write("closed/f", entry(0o644), pieces("secret"));
  await tree.write("private", entry(0o640), pieces("secret"));
  const refused = { code: "EACCES" };
  await assert.rejects(textOf(as(alice), "closed/f"), refused);
  await assert.rejects(textOf(as(alice), "private"), refused);
  await assert.rejects(as(alice).list("closed"), refused);
  await assert.rejects(as(alice).write("d/f", entry(0o644), pieces("x")), refused);
  await assert.rejects(as(alice).write("d/new", entry(0o644), pieces("x")), refused);
  await assert.rejects(as(alice).makeDirectory("d/new"), refused);
  await assert.rejects(as(alice).remove("d/f"), refused);
  assert.equal(await textOf(as(alice), "d/f"), "one two");
});

test("in a sticky directory everybody may add, and remove what is his own", async () => {
  const { tree, as } = await make();
  await tree.finishDirectory("d", entry(0o1777, "directory"));
  await as(alice).write("d/own", entry(0o644), pieces("x"));
  await assert.rejects(as(alice).remove("d/f"), { code: "EACCES" });
  await as(alice).remove("d/own");
  await tree.remove("d/f");
  await tree.remove("d");
  await assert.rejects(tree.remove("d"), { code: "ENOENT" });
});

const [owner, user, ownGroup, group, mask, others] = [1, 2, 4, 8, 16, 32];
const nobody = 0xffffffff;

/** As linux/posix_acl_xattr.h has it. */
function listOf(entries: readonly (readonly [tag: number, bits: number, id?: number])[]): Buffer {
  const list = Buffer.alloc(4 + 8 * entries.length);
  list.writeUInt32LE(2, 0);
  for (const [index, [tag, bits, id = nobody]] of entries.entries()) {
    list.writeUInt16LE(tag!, 4 + 8 * index);
    list.writeUInt16LE(bits, 6 + 8 * index);
    list.writeUInt32LE(id, 8 + 8 * index);
  }
  return list;
}

test("ACLs refuse and allow as the kernel does", async () => {
  const { files, tree, as } = await make();
  const [bob, carol]: Credentials[] = [
    { uid: 1002, gid: 1002, groups: [] },
    { uid: 1003, gid: 0, groups: [60] },
  ];
  const reads = async (who: Credentials, mode: number, entries: Parameters<typeof listOf>[0]): Promise<boolean> => {
    await tree.finishDirectory("d/f", entry(mode));
    const { inode } = (await tree.attributes("d/f", true))!;
    await files.setAccessControlList(inode, "access", listOf(entries));
    return await textOf(as(who), "d/f").then(
      () => true,
      (error) => assert.equal(error.code, "EACCES") ?? false,
    );
  };
  const rest = (bits: number) =>
    [
      [mask!, 7],
      [others!, bits],
    ] as const;
  const denied = [[owner!, 6], [user!, 0, 1001], [ownGroup!, 4], ...rest(4)] as const;
  assert.equal(await reads(alice, 0o674, denied), false, "a user's own entry comes before the others'");
  assert.equal(await reads(bob!, 0o674, denied), true);
  const allowed = [[owner!, 6], [user!, 4, 1001], [ownGroup!, 0], ...rest(0)] as const;
  assert.equal(await reads(alice, 0o670, allowed), true);
  assert.equal(await reads(bob!, 0o670, allowed), false);
  assert.equal(await reads(carol!, 0o670, allowed), false, "the mode's group bits are the mask, not the group's");
  const ofGroups = [[owner!, 6], [ownGroup!, 0], [group!, 0, 50], [group!, 4, 60], ...rest(4)] as const;
  assert.equal(await reads(alice, 0o674, ofGroups), false, "who is in a group is none of the others");
  assert.equal(await reads(carol!, 0o674, ofGroups), true, "one of the groups is enough");
  const masked = [
    [owner!, 6],
    [user!, 7, 1001],
    [ownGroup!, 4],
    [mask!, 2],
    [others!, 4],
  ] as const;
  assert.equal(await reads(alice, 0o624, masked), false);
  assert.equal(await reads(bob!, 0o624, masked), true);
});

test("setgid is for a group that the owner is in", async () => {
  const { files, tree, as } = await make();
  for (const gid of [50, 60]) {
    await tree.write(`g${gid}`, entry(0o644), pieces("x"));
    await files.setAttributes((await tree.attributes(`g${gid}`, true))!.inode, { uid: alice.uid, gid });
    await as(alice).write(`g${gid}`, entry(0o2755), pieces("x"));
    assert.equal((await tree.look(`g${gid}`, true))!.mode, gid === 50 ? 0o2755 : 0o755);
  }
});
