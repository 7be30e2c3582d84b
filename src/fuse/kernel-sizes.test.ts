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
  const timers = new Set<() => void>();
  const startTimer = (_delayMs: number, callback: () => void) => {
    timers.add(callback);
    return { cancel: () => timers.delete(callback) };
  };
  /** All timers run out. */
  const later = () => {
    for (const callback of timers) {
      timers.delete(callback);
      callback();
    }
  };
  const sizes = new KernelSizes({
    transport: { notify },
    clock: { startTimer },
    random: realRandom,
    numbers: new NodeNumbers(files.root),
    openFiles,
    pages: { mayHave: (one) => withPages.has(one) },
  });
  const open = async (mode: { append: boolean; write: boolean }) =>
    openFiles.add(new OpenFile(files, await files.open(node, {}), mode));
  return { node, sizes, openFiles, told, withPages, open, later, timers };
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
  const appending = await open({ append: true, write: true });
  sizes.givesPages(node);
  assert.equal(told.length, 0, "a size that isn't old stays");
  assert.equal(sizes.leaseGoes(node), false);
  assert.equal(told.length, 0);
  sizes.givesPages(node);
  assert.equal(told.length, 2);
  sizes.givesPages(node);
  assert.equal(told.length, 2, "once is enough: the next READ that ends early tells the end");
  withPages.add(node);
  assert.equal(sizes.leaseGoes(node), true);
  withPages.clear();
  openFiles.close(appending);
  assert.equal(sizes.leaseGoes(node), true);
});

test("after a READ that ends early an old size goes a little later: the READ has told the end", async () => {
  const { node, sizes, told, open, later, timers } = await setup();
  await open({ append: true, write: true });
  sizes.gavePagesToEnd(node);
  assert.equal(timers.size, 0);
  sizes.leaseGoes(node);
  sizes.gavePagesToEnd(node);
  sizes.gavePagesToEnd(node);
  assert.deepEqual([told.length, timers.size], [0, 1]);
  later();
  assert.equal(told.length, 2);
  for (const end of [() => sizes.gone(node), () => sizes.stop()]) {
    sizes.leaseGoes(node);
    sizes.gavePagesToEnd(node);
    end();
    assert.equal(timers.size, 0);
  }
});

test("an old size goes with the last handle that appends", async () => {
  const { node, sizes, openFiles, told, open } = await setup();
  const [first, second] = [await open({ append: true, write: true }), await open({ append: true, write: true })];
  const reading = await open({ append: false, write: false });
  sizes.leaseGoes(node);
  openFiles.close(first);
  sizes.closed(node);
  assert.equal(told.length, 0);
  openFiles.close(second);
  sizes.closed(node);
  assert.equal(told.length, 2);
  openFiles.close(reading);
  sizes.closed(node);
  assert.equal(told.length, 2);
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
      [sizes.isEnd(node, end), sizes.isEnd(node, 2n ** 62n), sizes.isEnd(node + 1, end)],
      [true, false, false],
    );
    assert.deepEqual(
      [end, end - 10n, end + 2n ** 31n].map((one) => sizes.fromEnd(node, one)),
      [0, -10, 2 ** 31],
    );
    assert.equal(sizes.fromEnd(node, before), undefined, "counted from a size before this one");
    assert.equal(sizes.fromEnd(node, 6000n), undefined);
    sizes.appended(node, 5000);
    // A write that is on its way may have the size from before the last one, or before the lease went.
    assert.deepEqual(
      [end, end + 5000n, end + 5001n].map((one) => sizes.isEnd(node, one)),
      [true, true, false],
    );
    assert.equal(sizes.isEnd(node, before), round > 0);
    before = end + 5000n;
  }
  sizes.gone(node);
  assert.equal(sizes.isEnd(node, before), false);
});
