/**
 * Property: whatever is written, truncated, read and flushed, with stores that delay, fail and lose answers, a file is what
 * a plain buffer is; and at every moment, what a crash of the client would leave is what the rules of the journal allow:
 *
 * - every store has every chunk that is mapped, and shows the file as of the last committed entry,
 * - but for whole blocks of the next entry, whose overwrites may be there already.
 */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { BrineError } from "../../errors/brine-error.ts";
import { blockBytes, chunkBytes } from "../../namespace/model.ts";
import { blockChecksum } from "../../wire/checksum.ts";
import type { FakeStore } from "../testing/fake-store.ts";
import type { FileContent } from "./file-content.ts";
import { type CommittedFile, ContentHarness, type FileOperation } from "./testing/content-harness.ts";

type Step =
  | { kind: "write"; file: number; offset: number; length: number; seed: number }
  | { kind: "append"; file: number; length: number; seed: number }
  | { kind: "truncate"; file: number; size: number }
  | { kind: "read"; file: number; offset: number; length: number }
  | { kind: "release"; back: number }
  | { kind: "commit" }
  | { kind: "flush"; file: number }
  | { kind: "reopen"; file: number }
  | { kind: "join"; on: boolean }
  | { kind: "space"; bytes: number }
  | { kind: "full"; stores: number }
  | { kind: "turn" };

/** Around the places where something changes: block and chunk bounds. */
const place = fc.oneof(
  { weight: 4, arbitrary: fc.nat(3 * blockBytes) },
  { weight: 1, arbitrary: fc.nat(200).map((distance) => chunkBytes - 100 + distance) },
  { weight: 1, arbitrary: fc.nat(chunkBytes + 5000) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(0, blockBytes, chunkBytes - blockBytes, chunkBytes, chunkBytes + blockBytes),
  },
);
const length = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.integer({ min: 1, max: 20_000 }), fc.constant(200_000));
const file = fc.nat(1);
const seed = fc.integer({ min: 1, max: 250 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("write" as const), file, offset: place, length, seed }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("append" as const), file, length, seed }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("truncate" as const), file, size: place }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("read" as const), file, offset: place, length }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("release" as const), back: fc.integer({ min: -3, max: 3 }) }) },
  { weight: 1, arbitrary: fc.constant({ kind: "commit" as const }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("flush" as const), file }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reopen" as const), file }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("join" as const), on: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("space" as const), bytes: fc.constantFrom(0, 1e6, 1e9) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("full" as const), stores: fc.nat(3) }) },
  { weight: 4, arbitrary: fc.constant({ kind: "turn" as const }) },
);

/** A file as it should be, now and after each entry of the journal. */
class Model {
  bytes = Buffer.alloc(0);
  /** After each entry about it; several for one that operations have joined, the last is the entry's. */
  readonly states: { position: number; bytes: Buffer }[] = [{ position: 0, bytes: this.bytes }];

  write(offset: number, data: Buffer): void {
    const grown = Buffer.alloc(Math.max(this.bytes.length, offset + data.length));
    this.bytes.copy(grown);
    data.copy(grown, offset);
    this.bytes = grown;
  }

  truncate(size: number): void {
    const cut = Buffer.alloc(size);
    this.bytes.copy(cut);
    this.bytes = cut;
  }

  /** As of the last entry up to this one. */
  at(position: number): Buffer {
    return this.states.findLast((state) => state.position <= position)!.bytes;
  }
}

function fill(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index++) bytes[index] = ((index >>> 4) * 31 + seed) & 0xff || 1;
  return bytes;
}

class Run {
  readonly harness: ContentHarness;
  readonly contents: FileContent[] = [];
  readonly models = [new Model(), new Model()];
  /** What the operation under way does to its model, once it has an entry. */
  #pending: ((operation: FileOperation) => void) | undefined;
  #isFull = false;

  constructor(harness: ContentHarness) {
    this.harness = harness;
    this.contents = [harness.file(), harness.file()];
    harness.journal.onEntry = (position, inode, operation) => {
      const model = this.models[inode - 1]!;
      this.#pending!(operation);
      this.#pending = undefined;
      model.states.push({ position, bytes: model.bytes });
    };
    harness.journal.onCommit = (position) => this.checkCrash(position);
  }

  async change(apply: (operation: FileOperation) => void, begin: () => Promise<unknown>): Promise<void> {
    this.#pending = apply;
    try {
      await this.harness.until(begin());
    } catch (error) {
      assert.ok(this.#isFull && (error as { code?: string }).code === "ENOSPC", String(error));
      assert.notEqual(this.#pending, undefined, "an operation that fails has no entry");
      return;
    }
    assert.equal(this.#pending, undefined, "an operation without an entry");
  }

  async take(one: Step): Promise<void> {
    const { harness } = this;
    const { journal } = harness;
    switch (one.kind) {
      case "write":
      case "append": {
        const data = fill(one.length, one.seed);
        const model = this.models[one.file]!;
        const offset = one.kind === "write" ? one.offset : undefined;
        const apply = (operation: FileOperation) => {
          const start = offset ?? model.bytes.length;
          // A full store makes it a short one.
          const written = operation.kind === "write" ? operation.end - start : 0;
          assert.ok(written === data.length || (this.#isFull && written > 0 && written < data.length));
          model.write(start, data.subarray(0, written));
        };
        return this.change(apply, () => harness.write(this.contents[one.file]!, offset, data));
      }
      case "truncate": {
        const model = this.models[one.file]!;
        const apply = () => model.truncate(one.size);
        return this.change(apply, () => harness.setSize(this.contents[one.file]!, one.size));
      }
      case "read":
        return this.checkRead(one.file, one.offset, one.length);
      case "release":
        return journal.release(Math.max(0, journal.position - one.back));
      case "commit":
        return harness.until(journal.committed(journal.position));
      case "flush": {
        const content = this.contents[one.file]!;
        return content.flush(content.mark);
      }
      case "reopen":
        return this.reopen(one.file);
      case "join":
        journal.joins = one.on;
        return;
      case "space":
        if (this.#isFull) return;
        harness.grantable = one.bytes;
        if (one.bytes === 0) harness.contents.returnSpace();
        return;
      case "full":
        return this.setFull(one.stores);
      case "turn":
        return harness.settle();
    }
  }

  /** Bits for the stores that are full from now on; nothing is granted then. */
  async setFull(stores: number): Promise<void> {
    const { harness } = this;
    await harness.until(harness.journal.committed(harness.journal.position));
    this.#isFull = stores !== 0;
    harness.grantable = this.#isFull ? 0 : 1e9;
    harness.contents.returnSpace();
    await harness.settle();
    for (const [index, store] of harness.stores.entries()) store.full = (stores & (1 << index)) !== 0;
  }

  async checkRead(file: number, offset: number, length: number): Promise<void> {
    const got = await this.harness.until(this.harness.read(this.contents[file]!, offset, length));
    const want = this.models[file]!.bytes.subarray(offset, offset + length);
    assert.equal(got.length, want.length);
    assert.ok(got.equals(want), "other bytes than the model's");
  }

  /** The lease goes, and comes again with another grant. */
  async reopen(file: number): Promise<void> {
    const { harness } = this;
    await harness.until(harness.journal.committed(harness.journal.position));
    const before = this.contents[file]!;
    before.drop();
    const committed = harness.journal.committedFiles.get(before.inode);
    if (committed !== undefined) this.litter(committed);
    const content = harness.file(committed, before.inode);
    content.node.grant = before.node.grant + 1;
    this.contents[file] = content;
  }

  /** Another client has died here: it had written behind the end of the file. */
  litter({ size, chunks }: CommittedFile): void {
    const chunk = chunks.get(Math.floor(size / chunkBytes));
    if (chunk === undefined) return;
    for (const store of this.harness.stores) {
      const blocks = store.chunks.get(chunk)!;
      for (let block = Math.ceil((size % chunkBytes) / blockBytes); block < 4; block++) {
        const data = Buffer.alloc(blockBytes, 0xdd);
        const version = { grant: 1, sequence: block + 1 };
        blocks.set(block, { version, origin: chunk, checksum: blockChecksum(data, chunk, block, version), data });
      }
    }
  }

  /** The client dies now: what each store shows of each file. */
  checkCrash(position: number): void {
    for (const [index, model] of this.models.entries()) {
      const committed = model.at(position);
      const next = model.states.filter((state) => state.position === position + 1);
      for (const store of this.harness.stores) this.#checkStore(store, index + 1, committed, next);
    }
  }

  #checkStore(store: FakeStore, inode: number, committed: Buffer, next: readonly { bytes: Buffer }[]): void {
    const found = this.harness.stored(store, inode);
    assert.equal(found.length, committed.length, "size of the committed file");
    if (found.equals(committed)) return;
    for (let at = 0; at < found.length; at += blockBytes) {
      const end = Math.min(at + blockBytes, found.length);
      const block = found.subarray(at, end);
      const isAllowed = [{ bytes: committed }, ...next].some(({ bytes }) => {
        const expected = Buffer.alloc(end - at);
        bytes.copy(expected, 0, at, end);
        return block.equals(expected);
      });
      assert.ok(isAllowed, `block ${at / blockBytes} of inode ${inode} on store ${store.store}`);
    }
  }

  async finish(): Promise<void> {
    await this.setFull(0);
    for (const index of this.models.keys()) await this.checkRead(index, 0, 2 * chunkBytes + 10_000);
    const { journal, stores, contents } = this.harness;
    await this.harness.until(journal.committed(journal.position));
    for (const [index, model] of this.models.entries()) {
      for (const store of stores) {
        if (model.states.length > 1) assert.ok(this.harness.stored(store, index + 1).equals(model.bytes));
      }
      this.contents[index]!.drop();
    }
    assert.equal(contents.dirtyBytes, 0);
    assert.equal(contents.cachedBytes, 0);
  }
}

/** Numbers that repeat with the seed. */
function randomOf(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/** Requests take different times, answers get lost, disks are full for a while. */
function disturb(harness: ContentHarness, random: (limit: number) => number): void {
  for (const store of harness.stores) {
    store.before = async () => {
      const delayMs = random(4) * random(4);
      if (delayMs > 0) await new Promise<void>((resolve) => harness.platform.clock.startTimer(delayMs, resolve));
      if (random(30) === 0) throw new BrineError("busy", "not now, says the test");
    };
    store.after = () => {
      if (random(20) === 0) throw new Error("the answer is lost");
    };
    store.refuses = () => random(15) === 0;
  }
}

async function check(steps: readonly Step[], seed: number, faults: boolean): Promise<void> {
  const random = randomOf(seed);
  const cacheBytesMax = [0, 20_000, 200_000][random(3)]!;
  const harness = await ContentHarness.start({ random, dirtyBytesMax: 600_000, cacheBytesMax });
  if (faults) disturb(harness, random);
  const run = new Run(harness);
  for (const one of steps) {
    // Where stores refuse now and then, a write without a grant may fail and may not.
    if (faults && (one.kind === "space" || one.kind === "full")) continue;
    await run.take(one);
    run.checkCrash(harness.journal.committedPosition);
  }
  await run.finish();
  await harness.stop();
}

const steps = fc.array(step, { minLength: 1, maxLength: 40 });

test("a file is what was written, and a crash leaves what the journal's rules allow", async () => {
  const property = fc.asyncProperty(steps, fc.nat(1e6), (taken, seed) => check(taken, seed, false));
  await fc.assert(property, { numRuns: 150 });
});

test("the same with stores that delay, fail, lose answers and are full for a while", async () => {
  const property = fc.asyncProperty(steps, fc.nat(1e6), (taken, seed) => check(taken, seed, true));
  await fc.assert(property, { numRuns: 150 });
});
