/** When the kernel is told that the size of an open file is not known, and how. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { realRandom } from "../platform/real-random.ts";
import { OpenFile, OpenFiles } from "./handles.ts";
import { KernelSizes } from "./kernel-sizes.ts";
import { NodeNumbers } from "./layout.ts";
import { MemoryFileSystem } from "./testing/memory-file-system.ts";
import type { FuseTransport } from "./transport.ts";

const [store, invalInode] = [4, 2];

async function setup(answer: ReturnType<FuseTransport["notify"]> = "done") {
  const files = new MemoryFileSystem(() => 0n);
  const made = await files.create(files.root, "f", { type: "file", mode: 0o644, uid: 0, gid: 0 });
  const node = made.inode;
  const openFiles = new OpenFiles();
  const told: Buffer[] = [];
  const withPages = new Set<number>();
  const notify = (message: Uint8Array) => {
    told.push(Buffer.from(message));
    return answer;
  };
  const sizes = new KernelSizes({
    transport: { notify },
    random: realRandom,
    numbers: new NodeNumbers(files.root),
    openFiles,
    pages: { mayHave: (one) => withPages.has(one) },
  });
  const open = async (mode: { append: boolean; write: boolean }) =>
    openFiles.add(new OpenFile(files, await files.open(node, {}), mode));
  return { node, sizes, openFiles, told, withPages, open };
}

test("a byte far behind the end of any file is stored, and its page dropped", async () => {
  const { node, sizes, told, open } = await setup();
  await open({ append: false, write: false });
  assert.equal(sizes.leaseGoes(node), true);
  assert.deepEqual(
    told.map((message) => message.readInt32LE(4)),
    [store, invalInode],
  );
  for (const message of told) {
    assert.equal(message.readUInt32LE(0), message.length);
    assert.equal(message.readBigUInt64LE(16), BigInt(node));
  }
  const [first, second] = told as [Buffer, Buffer];
  assert.equal(first.length, 16 + 24 + 1);
  assert.equal(first.readUInt32LE(32), 1);
  const offset = first.readBigInt64LE(24);
  assert.ok(offset >= 2n ** 62n && offset < 2n ** 63n - 4096n, `${offset} is a size that the kernel can have`);
  assert.equal(offset % 4096n, 0n);
  assert.deepEqual([second.readBigInt64LE(24), second.readBigInt64LE(32)], [offset, 4096n]);
});

test("nothing is said of a file that nobody has open, and what the kernel doesn't know is told", async () => {
  const closed = await setup();
  assert.equal(closed.sizes.leaseGoes(closed.node), false);
  assert.equal(closed.told.length, 0);
  const unknown = await setup("unknownNode");
  await unknown.open({ append: false, write: true });
  assert.equal(unknown.sizes.leaseGoes(unknown.node), false);
  assert.equal(unknown.told.length, 1);
});

test("a file that is open for appending keeps its size, unless its memory is mapped", async () => {
  const { node, sizes, openFiles, told, withPages, open } = await setup();
  await open({ append: false, write: true });
  sizes.givesPages(node);
  assert.equal(told.length, 0);
  const appending = await open({ append: true, write: true });
  assert.equal(sizes.leaseGoes(node), false);
  assert.equal(told.length, 0);
  sizes.givesPages(node);
  assert.equal(told.length, 2);
  withPages.add(node);
  assert.equal(sizes.leaseGoes(node), true);
  withPages.clear();
  openFiles.close(appending);
  assert.equal(sizes.leaseGoes(node), true);
});

test("a write at the enormous size is one at the end; each such size is larger than the one before", async () => {
  const { node, sizes, told, open } = await setup();
  await open({ append: false, write: true });
  let before = 0n;
  for (let round = 0; round < 100; round++) {
    told.length = 0;
    assert.equal(sizes.leaseGoes(node), true);
    const end = told[0]!.readBigInt64LE(24) + 1n;
    assert.ok(end > before);
    assert.deepEqual(
      [sizes.isEnd(node, end), sizes.isEnd(node, end - 1n), sizes.isEnd(node + 1, end)],
      [true, false, false],
    );
    sizes.appended(node, 5000);
    assert.deepEqual([sizes.isEnd(node, end), sizes.isEnd(node, end + 5000n)], [false, true]);
    before = end + 5000n;
  }
  sizes.gone(node);
  assert.equal(sizes.isEnd(node, before), false);
});
