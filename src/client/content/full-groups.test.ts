/** Disks of different sizes: some groups are full while others have room. Without grants writes go through. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { blockBytes, chunkBytes, groupOfChunk } from "../../namespace/model.ts";
import { Node } from "../node.ts";
import type { FileContent } from "./file-content.ts";
import { ContentHarness, pattern } from "./testing/content-harness.ts";

/** Store 3 is in all groups but the first. */
async function start(): Promise<ContentHarness> {
  const members = [
    [1, 2],
    [1, 3],
    [2, 3],
    [1, 3],
    [2, 3],
  ];
  const harness = await ContentHarness.start({ stores: 3, members, cacheBytesMax: 0 });
  harness.grantable = 0;
  for (let group = 2; group <= members.length; group++) harness.ungranted.add(group);
  return harness;
}

function groupsOf(harness: ContentHarness, { inode }: FileContent): number[] {
  return [...harness.journal.committedFiles.get(inode)!.chunks.values()].map(groupOfChunk);
}

/** The leader has so much for the first group from now on. */
async function grantFirst(harness: ContentHarness, bytes: number): Promise<void> {
  harness.grantable = bytes;
  // Refusals are believed for a second.
  await harness.platform.clock.advance(1_100);
}

/** A file with a chunk in a group of store 3. */
async function fileOnThird(harness: ContentHarness, bytes: Uint8Array): Promise<FileContent> {
  for (;;) {
    const file = harness.file();
    await harness.until(harness.write(file, 0, bytes));
    if (groupsOf(harness, file)[0]! > 1) return file;
  }
}

test("new files go to the groups that have room", async () => {
  const harness = await start();
  harness.stores[2]!.full = true;
  for (let round = 0; round < 6; round++) {
    const file = harness.file();
    await harness.until(harness.write(file, 0, pattern(chunkBytes + 9000, round)));
    assert.deepEqual(groupsOf(harness, file), [1, 1]);
    for (const store of harness.stores.slice(0, 2)) {
      assert.ok(harness.stored(store, file.inode).equals(pattern(chunkBytes + 9000, round)));
    }
  }
  const mapped = new Set([...harness.journal.committedFiles.values()].flatMap(({ chunks }) => [...chunks.values()]));
  assert.ok(harness.discarded.length > 0 && harness.discarded.every((chunk) => !mapped.has(chunk)));
  await harness.stop();
});

test("a chunk of a full group moves for a write that doesn't fit", async () => {
  const harness = await start();
  const old = pattern(3 * blockBytes + 700, 1);
  const file = await fileOnThird(harness, old);
  harness.stores[2]!.full = true;
  await grantFirst(harness, Number.POSITIVE_INFINITY);
  await harness.until(harness.write(file, undefined, pattern(50_000, 2)));
  await harness.until(harness.write(file, blockBytes + 5, pattern(10, 3)));
  await harness.until(harness.journal.committed(harness.journal.position));
  assert.deepEqual(groupsOf(harness, file), [1]);
  const wanted = Buffer.concat([old, pattern(50_000, 2)]);
  pattern(10, 3).copy(wanted, blockBytes + 5);
  assert.ok((await harness.until(harness.read(file, 0, 100_000))).equals(wanted));
  for (const store of harness.stores.slice(0, 2)) assert.ok(harness.stored(store, file.inode).equals(wanted));
  await harness.stop();
});

test("a chunk moves only where all of it fits: what is left isn't filled up with copies that don't", async () => {
  const harness = await start();
  const file = await fileOnThird(harness, pattern(chunkBytes - 700, 1));
  harness.stores[2]!.full = true;
  await grantFirst(harness, chunkBytes / 2);
  const before = harness.discarded.length;
  await assert.rejects(harness.until(harness.write(file, 0, pattern(5000, 2))), { code: "ENOSPC" });
  assert.equal(harness.discarded.length, before);
  await harness.stop();
});

test("what is behind the part that didn't fit is as it was", async () => {
  const harness = await ContentHarness.start({ groups: 1, cacheBytesMax: 0 });
  harness.grantable = 0;
  const file = harness.file();
  const old = pattern(chunkBytes + 20_000, 1);
  await harness.until(harness.write(file, 0, old));
  const first = harness.journal.committedFiles.get(file.inode)!.chunks.get(0)!;
  for (const store of harness.stores) store.refuses = (chunk) => chunk === first;
  await assert.rejects(harness.until(harness.write(file, chunkBytes - 9000, pattern(18_000, 2))), { code: "ENOSPC" });
  assert.ok((await harness.until(harness.read(file, 0, old.length))).equals(old));
  for (const store of harness.stores) assert.ok(harness.stored(store, file.inode).equals(old));
  await harness.stop();
});

test("the id of a chunk that was tried is discarded, that of one that wasn't given back; none is both", async () => {
  const harness = await ContentHarness.start({ groups: 1, cacheBytesMax: 0 });
  harness.grantable = 0;
  const file = harness.file();
  await harness.until(harness.write(file, 0, pattern(chunkBytes - 9000, 1)));
  const first = harness.journal.committedFiles.get(file.inode)!.chunks.get(0)!;
  const across = () => harness.until(harness.write(file, chunkBytes - 9000, pattern(18_000, 2)));
  for (const store of harness.stores) store.refuses = (chunk) => chunk === first;
  await assert.rejects(across(), { code: "ENOSPC" });
  assert.ok(harness.spare.length > 0);
  assert.equal(harness.discarded.length, 0);
  for (const store of harness.stores) store.refuses = (chunk) => chunk !== first;
  assert.equal(await across(), 9000, "it is short");
  assert.ok(harness.discarded.length > 0);
  assert.ok(harness.discarded.every((chunk) => !harness.spare.includes(chunk)));
  await harness.stop();
});

test("without room in any group it is ENOSPC, and the file is as it was", async () => {
  const harness = await start();
  const old = pattern(5000, 1);
  const file = await fileOnThird(harness, old);
  const [before] = [...harness.journal.committedFiles.get(file.inode)!.chunks.values()];
  for (const store of harness.stores) store.full = true;
  await assert.rejects(harness.until(harness.write(file, 0, pattern(5000, 2))), { code: "ENOSPC" });
  await assert.rejects(harness.until(harness.write(harness.file(), 0, pattern(5000, 2))), { code: "ENOSPC" });
  assert.deepEqual([...harness.journal.committedFiles.get(file.inode)!.chunks.values()], [before]);
  assert.ok((await harness.until(harness.read(file, 0, 5000))).equals(old));
  for (const store of harness.stores) store.full = false;
  assert.equal(await harness.until(harness.write(file, 0, pattern(5000, 2))), 5000);
  await harness.stop();
});

test("under the lease on a chunk alone the chunk stays where it is", async () => {
  const harness = await start();
  const file = await fileOnThird(harness, pattern(5000, 1));
  const { node } = file;
  const chunk = new Node(2 ** 52, node.record, node);
  chunk.mode = "exclusive";
  chunk.grant = chunk.versionGrant = 6;
  const { chunks } = harness.journal.committedFiles.get(file.inode)!;
  const mappings = [...chunks].map(([index, mapped]) => ({ index, chunk: mapped }));
  chunk.content = harness.contents.make(chunk, { mappings, mappedBelow: 1 });
  harness.stores[2]!.full = true;
  await assert.rejects(harness.until(harness.write(chunk.content, 0, pattern(5000, 2))), { code: "ENOSPC" });
  assert.ok(harness.executed.every(({ kind }) => kind !== "place"));
  await harness.stop();
});
