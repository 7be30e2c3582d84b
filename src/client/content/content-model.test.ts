/**
 * Property: whatever is written, truncated, read and flushed, with stores that delay, fail and lose answers, a file is what
 * a plain buffer is; and at every moment, what a crash of the client would leave is what the rules of the journal allow:
 *
 * - every store has every chunk that is mapped, and shows the file as of the last committed entry,
 * - but for whole blocks of the file's next entry, whose overwrites may be there already, and of those behind it if all of these
 *   do nothing but overwrite; and of writes that go through, which are there before they have an entry: entries of others may
 *   come in between, but none that was there when the write began.
 */
import { strict as assert } from "node:assert";
import { mock, test } from "node:test";
import fc from "fast-check";
import { BrineError } from "../../errors/brine-error.ts";
import { blockBytes, chunkBytes } from "../../namespace/model.ts";
import { blockChecksum } from "../../wire/checksum.ts";
import { responsePayloads } from "../../wire/payload-pool.ts";
import { onlyOverwrites } from "../journal-entry.ts";
import type { FileContent } from "./file-content.ts";
import { ContentHarness } from "./testing/content-harness.ts";
import type { CommittedFile, FileOperation } from "./testing/fake-journal.ts";
import type { FakeStore } from "./testing/fake-store.ts";

type Step =
  | { kind: "write"; file: number; offset: number; length: number; seed: number }
  | { kind: "append"; file: number; length: number; seed: number }
  | { kind: "truncate"; file: number; size: number }
  | { kind: "zero"; file: number; from: number; length: number }
  | { kind: "read"; file: number; offset: number; length: number }
  | { kind: "move"; file: number; index: number }
  | { kind: "release"; back: number }
  | { kind: "commit" }
  | { kind: "flush"; file: number }
  | { kind: "reopen"; file: number }
  | { kind: "join"; on: boolean }
  | { kind: "space"; bytes: number }
  | { kind: "full"; stores: number }
  | { kind: "ahead" }
  | { kind: "turn" }
  | { kind: "together"; steps: readonly Step[] };

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
const write = fc.record({ kind: fc.constant("write" as const), file, offset: place, length, seed });
const append = fc.record({ kind: fc.constant("append" as const), file, length, seed });
const truncate = fc.record({ kind: fc.constant("truncate" as const), file, size: place });
const zero = fc.record({
  kind: fc.constant("zero" as const),
  file,
  from: fc.oneof(place, fc.constantFrom(0, chunkBytes)),
  length,
});
/** Whole chunks become holes. */
const punch = fc.record({
  kind: fc.constant("zero" as const),
  file,
  from: fc.constantFrom(0, chunkBytes),
  length: fc.constantFrom(chunkBytes, 2 * chunkBytes, chunkBytes + 5000),
});
const read = fc.record({ kind: fc.constant("read" as const), file, offset: place, length });
const move = fc.record({ kind: fc.constant("move" as const), file, index: fc.nat(1) });
const release = fc.record({ kind: fc.constant("release" as const), back: fc.integer({ min: -3, max: 3 }) });
const flush = fc.record({ kind: fc.constant("flush" as const), file });
/** The beginnings of all files, for nobody yet. */
const ahead = fc.constant({ kind: "ahead" as const });
const turn = fc.constant({ kind: "turn" as const });
const together = fc.record({
  kind: fc.constant("together" as const),
  steps: fc.array(fc.oneof(write, write, append, truncate, move, read, read, ahead, release, flush, turn), {
    minLength: 2,
    maxLength: 8,
  }),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: write },
  { weight: 3, arbitrary: append },
  { weight: 2, arbitrary: truncate },
  { weight: 2, arbitrary: fc.oneof(zero, punch) },
  { weight: 2, arbitrary: move },
  { weight: 3, arbitrary: read },
  { weight: 2, arbitrary: ahead },
  { weight: 4, arbitrary: together },
  { weight: 3, arbitrary: release },
  { weight: 1, arbitrary: fc.constant({ kind: "commit" as const }) },
  { weight: 2, arbitrary: flush },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reopen" as const), file }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("join" as const), on: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("space" as const), bytes: fc.constantFrom(0, 1e6, 1e9) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("full" as const), stores: fc.nat(3) }) },
  { weight: 4, arbitrary: turn },
);

interface State {
  readonly position: number;
  readonly bytes: Buffer;
  readonly onlyOverwrites?: boolean;
  /** For a write that went to the stores ahead of its entry: the last entry when it began, and what was there before it. */
  readonly through?: { readonly begunAt: number; readonly before: Buffer } | undefined;
}

interface Pending {
  readonly file: number;
  readonly begunAt: number;
  fits(operation: FileOperation): boolean;
  apply(operation: FileOperation): void;
  /** It has more than one entry. */
  readonly goesOn?: boolean;
}

/** A file as it should be, now and after each entry of the journal. */
const noOtherAttributes = {
  ...{ mode: undefined, uid: undefined, gid: undefined },
  ...{ atime: undefined, ctime: undefined, killPrivileges: false },
};

class Model {
  bytes = Buffer.alloc(0);
  /** After each entry about it; several for one that operations have joined, the last is the entry's. */
  readonly states: State[] = [{ position: 0, bytes: this.bytes }];

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
  /** Operations under way that have no entry yet. */
  readonly #pending: Pending[] = [];
  #isFull = false;
  /** Grants were refused once: writes may go through from then on. */
  #wasTight = false;

  constructor(harness: ContentHarness) {
    this.harness = harness;
    this.contents = [harness.file(), harness.file()];
    harness.journal.onEntry = (position, inode, operation, data) => {
      const model = this.models[inode - 1]!;
      if (operation.kind === "markHoles") {
        model.states.push({ position, bytes: model.bytes, onlyOverwrites: false, through: undefined });
        return;
      }
      const at = this.#pending.findIndex((pending) => pending.file === inode - 1 && pending.fits(operation));
      assert.notEqual(at, -1, "an entry of nobody");
      const pending = this.#pending[at]!;
      if (pending.goesOn !== true) this.#pending.splice(at, 1);
      const before = model.bytes;
      pending.apply(operation);
      const isThrough = operation.kind === "write" && data === undefined;
      const through = isThrough ? { begunAt: pending.begunAt, before } : undefined;
      model.states.push({ position, bytes: model.bytes, onlyOverwrites: onlyOverwrites(operation, data), through });
    };
    harness.journal.onCommit = (position) => this.checkCrash(position);
  }

  async change(change: Omit<Pending, "begunAt">, begin: () => Promise<unknown>): Promise<void> {
    const pending = { ...change, begunAt: this.harness.journal.position };
    this.#pending.push(pending);
    try {
      await begin();
    } catch (error) {
      assert.ok(this.#isFull && (error as { code?: string }).code === "ENOSPC", String(error));
      const at = this.#pending.indexOf(pending);
      assert.notEqual(at, -1, "an operation that fails has no entry");
      this.#pending.splice(at, 1);
      return;
    }
    assert.ok(!this.#pending.includes(pending), "an operation without an entry");
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
        const startOf = () => offset ?? model.bytes.length;
        const fits = (operation: FileOperation) => {
          if (operation.kind !== "write") return false;
          // A full store makes it a short one.
          const missing = startOf() + data.length - operation.end;
          return missing === 0 || (this.#isFull && missing > 0 && missing < data.length);
        };
        const apply = (operation: FileOperation) => {
          const end = operation.kind === "write" ? operation.end : 0;
          model.write(startOf(), data.subarray(0, end - startOf()));
        };
        return this.change({ file: one.file, fits, apply }, () =>
          harness.write(this.contents[one.file]!, offset, data),
        );
      }
      case "truncate": {
        const model = this.models[one.file]!;
        const fits = (operation: FileOperation) => operation.kind === "setAttributes" && operation.size === one.size;
        const apply = () => model.truncate(one.size);
        return this.change({ file: one.file, fits, apply }, () => harness.setSize(this.contents[one.file]!, one.size));
      }
      case "move":
        return this.move(one);
      case "zero":
        return this.zero(one);
      case "read":
        return this.checkRead(one.file, one.offset, one.length);
      case "together":
        await Promise.all(one.steps.map((each) => this.take(each)));
        return;
      case "release":
        return journal.release(Math.max(0, journal.position - one.back));
      case "commit":
        return journal.committed(journal.position);
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
        this.#wasTight = true;
        if (one.bytes === 0) harness.contents.returnSpace();
        return;
      case "full":
        return this.setFull(one.stores);
      case "ahead":
        for (const content of this.contents) harness.contents.reader.readBeginning(content, 100_000);
        return;
      case "turn":
        return harness.settle();
    }
  }

  /** To another group: nothing that can be read changes, also if there is no room for it. */
  async move({ file, index }: { file: number; index: number }): Promise<void> {
    const pending = {
      file,
      begunAt: this.harness.journal.position,
      fits: (operation: FileOperation) => operation.kind === "place",
      apply: () => {},
      goesOn: true,
    };
    this.#pending.push(pending);
    try {
      await this.harness.move(this.contents[file]!, index);
    } catch (error) {
      assert.equal((error as { code?: string }).code, "ENOSPC", String(error));
    } finally {
      this.#pending.splice(this.#pending.indexOf(pending), 1);
    }
  }

  /** Several entries: one for each piece that is overwritten, and one for the chunks in between. */
  async zero({ file, from, length }: { file: number; from: number; length: number }): Promise<void> {
    const model = this.models[file]!;
    const apply = (operation: FileOperation) => {
      if (operation.kind === "place" || operation.kind === "markHoles") throw new Error("zeros change data alone");
      if (operation.kind === "setAttributes") {
        // Where there was nothing to zero.
        const { kind, inode, mtime, ...others } = operation;
        assert.deepEqual(others, { mappings: [], size: undefined, ...noOtherAttributes });
        return;
      }
      const isUnmap = operation.kind === "unmap";
      const chunkStart = isUnmap ? 0 : Math.floor((operation.end - 1) / chunkBytes) * chunkBytes;
      const start = isUnmap ? operation.from * chunkBytes : Math.max(from, chunkStart);
      const end = isUnmap ? Math.min(operation.below * chunkBytes, model.bytes.length) : operation.end;
      assert.ok(start >= from && (end <= from + length || end === model.bytes.length), "other bytes than asked for");
      model.write(start, Buffer.alloc(end - start));
    };
    const pending = { file, begunAt: this.harness.journal.position, fits: () => true, apply, goesOn: true };
    this.#pending.push(pending);
    const before = model.bytes;
    try {
      await this.harness.zero(this.contents[file]!, { from, to: from + length });
      const end = Math.min(from + length, before.length);
      const want = Buffer.from(before);
      if (from < end) want.fill(0, from, end);
      assert.ok(model.bytes.equals(want), "zeros were forgotten");
    } catch (error) {
      assert.ok(this.#isFull && (error as { code?: string }).code === "ENOSPC", String(error));
    } finally {
      this.#pending.splice(this.#pending.indexOf(pending), 1);
    }
  }

  /** Bits for the stores that are full from now on; nothing is granted then. */
  async setFull(stores: number): Promise<void> {
    const { harness } = this;
    await harness.journal.committed(harness.journal.position);
    this.#isFull = stores !== 0;
    this.#wasTight = true;
    harness.grantable = this.#isFull ? 0 : 1e9;
    harness.contents.returnSpace();
    await harness.settle();
    for (const [index, store] of harness.stores.entries()) store.full = (stores & (1 << index)) !== 0;
  }

  /** The bytes of one moment while the read was under way. */
  async checkRead(file: number, offset: number, length: number): Promise<void> {
    const { states } = this.models[file]!;
    const begun = states.length - 1;
    const got = await this.harness.read(this.contents[file]!, offset, length);
    const moments = states.slice(begun).map(({ bytes }) => bytes.subarray(offset, offset + length));
    assert.ok(
      moments.some((want) => got.equals(want)),
      "other bytes than the model's",
    );
  }

  /** The lease goes, and comes again with another grant. */
  async reopen(file: number): Promise<void> {
    const { harness } = this;
    await harness.journal.committed(harness.journal.position);
    const before = this.contents[file]!;
    before.drop();
    const committed = harness.journal.committedFiles.get(before.inode);
    if (committed !== undefined) this.litter(committed);
    const content = harness.file(committed, before.inode);
    content.node.grant = content.node.versionGrant = before.node.grant + 1;
    this.contents[file] = content;
  }

  /** Another client has died here: it had written behind the end of the file. */
  litter({ size, chunks }: CommittedFile): void {
    const chunk = chunks.get(Math.floor(size / chunkBytes));
    if (chunk === undefined) return;
    for (const store of this.harness.stores) {
      const blocks = store.chunks.get(chunk)!;
      const last = Math.floor((size % chunkBytes) / blockBytes);
      const torn = blocks.get(last);
      if (torn !== undefined) {
        const data = Buffer.from(torn.data).fill(0xdd, size % blockBytes);
        blocks.set(last, { ...torn, data, checksum: blockChecksum(data, torn.origin, last, torn.version) });
      }
      for (let block = Math.ceil((size % chunkBytes) / blockBytes); block < 4; block++) {
        const data = Buffer.alloc(blockBytes, 0xdd);
        const version = { grant: 1, sequence: block + 1 };
        blocks.set(block, { version, origin: chunk, checksum: blockChecksum(data, chunk, block, version), data });
      }
    }
  }

  /** The client dies now: what each store shows of each file. */
  checkCrash(position: number): void {
    // What goes through is on the stores before it has an entry: that of others is not known here.
    if (this.#pending.length > 0 && this.#wasTight) return;
    for (const [index, model] of this.models.entries()) {
      const committed = model.at(position);
      for (const store of this.harness.stores) this.#checkStore(store, index + 1, committed, position);
    }
  }

  #checkStore(store: FakeStore, inode: number, committed: Buffer, position: number): void {
    const found = this.harness.stored(store, inode);
    assert.equal(found.length, committed.length, "size of the committed file");
    if (found.equals(committed)) return;
    const { states } = this.models[inode - 1]!;
    const last = lastUnordered(states, position);
    for (let at = 0; at < found.length; at += blockBytes) {
      const end = Math.min(at + blockBytes, found.length);
      const block = found.subarray(at, end);
      if (block.equals(committed.subarray(at, end))) continue;
      const isAllowed = states.some(
        (state) => mayBeThere(state, position, last, at, end) && block.equals(blockOf(state.bytes, at, end)),
      );
      assert.ok(isAllowed, `block ${at / blockBytes} of inode ${inode} on store ${store.store}`);
    }
  }

  async finish(): Promise<void> {
    await this.setFull(0);
    for (const index of this.models.keys()) await this.checkRead(index, 0, 2 * chunkBytes + 10_000);
    const { journal, stores, contents } = this.harness;
    await journal.committed(journal.position);
    for (const [index, model] of this.models.entries()) {
      for (const store of stores) {
        if (model.states.length > 1) assert.ok(this.harness.stored(store, index + 1).equals(model.bytes));
      }
      this.contents[index]!.drop();
    }
    assert.equal(contents.dirtyBytes, 0);
    // What was read ahead, and nobody has waited for.
    for (let turns = 0; contents.cache.loadingBytes > 0 && turns < 1_000; turns++) await this.harness.settle();
    assert.equal(contents.cachedBytes, 0);
  }
}

/** The last entry whose overwrites may be on the stores when those up to `position` are committed. */
function lastUnordered(states: readonly State[], position: number): number {
  const next = states.filter((state) => state.position > position);
  let last = next[0]?.position ?? 0;
  for (const state of next) {
    if (next.some((one) => one.position <= state.position && one.onlyOverwrites !== true)) break;
    last = state.position;
  }
  return last;
}

/** The block of this state may be on the stores when the entries up to `position` are committed. */
function mayBeThere(
  { position: own, bytes, through }: State,
  position: number,
  last: number,
  from: number,
  to: number,
): boolean {
  if (own <= position) return false;
  if (own <= last) return true;
  if (through === undefined || through.begunAt > position) return false;
  return !blockOf(through.before, from, to).equals(blockOf(bytes, from, to));
}

/** Bytes [from, to) of a file, with zeros behind its end. */
function blockOf(bytes: Buffer, from: number, to: number): Buffer {
  const block = Buffer.alloc(to - from);
  bytes.copy(block, 0, from, to);
  return block;
}

/** Numbers that repeat with the seed. */
function randomOf(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

/** Requests take different times, answers get lost, disks are full for a while, generations change. */
function disturb(harness: ContentHarness, random: (limit: number) => number): void {
  for (const store of harness.stores) {
    store.before = async () => {
      const delayMs = random(4) * random(4);
      if (delayMs > 0) await new Promise<void>((resolve) => harness.platform.clock.startTimer(delayMs, resolve));
      if (random(30) === 0) throw new BrineError("busy", "not now, says the test");
      if (random(40) === 0) harness.changeMember(2, random(2) === 0 ? "inSync" : "catchingUp");
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
    await harness.until(run.take(one));
    run.checkCrash(harness.journal.committedPosition);
  }
  await harness.until(run.finish());
  await harness.stop();
}

const steps = fc.array(step, { minLength: 1, maxLength: 40 });

/** The cache drops a block while the other edge of the write is loaded, and its own is not looked for again. */
const droppedEdge: Step[] = [
  {
    kind: "together",
    steps: [
      { kind: "release", back: -1 },
      { kind: "write", file: 0, offset: 0, length: 1, seed: 1 },
    ],
  },
  { kind: "write", file: 0, offset: 200_705, length: 1, seed: 1 },
  {
    kind: "together",
    steps: [
      { kind: "write", file: 0, offset: 0, length: 200_000, seed: 1 },
      { kind: "release", back: 0 },
      { kind: "write", file: 0, offset: 705, length: 200_000, seed: 1 },
      { kind: "append", file: 1, length: 1, seed: 1 },
      { kind: "turn" },
    ],
  },
  { kind: "turn" },
];

/** The bytes that a truncate keeps leave the cache while it waits for the id of the new chunk. */
const droppedHead: Step[] = [
  {
    kind: "together",
    steps: [
      { kind: "write", file: 1, offset: 1, length: 1, seed: 1 },
      { kind: "write", file: 1, offset: 4_190_208, length: 200_000, seed: 1 },
      { kind: "write", file: 1, offset: 4096, length: 1, seed: 1 },
      { kind: "truncate", file: 1, size: 2 },
      { kind: "release", back: -1 },
      { kind: "release", back: 0 },
    ],
  },
  { kind: "full", stores: 0 },
];

/** Memory that is used again while somebody looks at it is found here, not when it is too late. */
const giveBack = responsePayloads.giveBack.bind(responsePayloads);
mock.method(responsePayloads, "giveBack", (payload: Uint8Array) => giveBack(payload.fill(0xdd)));

test("a file is what was written, and a crash leaves what the journal's rules allow", async () => {
  const property = fc.asyncProperty(steps, fc.nat(1e6), (taken, seed) => check(taken, seed, false));
  await fc.assert(property, {
    numRuns: 100,
    examples: [
      [droppedEdge, 619_184],
      [droppedHead, 828_105],
    ],
  });
});

test("the same with stores that delay, fail, lose answers and are full for a while", async () => {
  const property = fc.asyncProperty(steps, fc.nat(1e6), (taken, seed) => check(taken, seed, true));
  await fc.assert(property, { numRuns: 100 });
});
