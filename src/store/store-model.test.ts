/**
 * Random writes, clones, deletions, accepted losses, checkpoints and crashes against a model: a map of chunks, each an array of blocks.
 * A crash in the middle of writes leaves each of their blocks old or new. A failing seed is in the test's message.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { hasCode } from "../errors/brine-error.ts";
import { blockBytes } from "../namespace/model.ts";
import { isZeros, type StoredExtent } from "./extents.ts";
import { Store } from "./store.ts";
import { contentOfExtents, testChunk, writeOf } from "./testing/blocks.ts";
import { MemoryPlatform, settle } from "./testing/memory-platform.ts";

const blockCount = 20;
const chunkCount = 6;

/** Grant 0: it is lost. */
interface Block {
  readonly grant: number;
  readonly fill: number;
}
const lost: Block = { grant: 0, fill: 0 };
const compacted = { movedBytes: 0 };
type Model = Map<number, (Block | undefined)[]>;

interface Write {
  readonly chunk: number;
  readonly first: number;
  readonly count: number;
  readonly grant: number;
  readonly fill: number;
  /** Its blocks below this one, and those from the next one on, are zeros. */
  readonly dataFrom: number;
  readonly dataTo: number;
}

function fillOf({ fill, dataFrom, dataTo }: Write, block: number): number {
  return block >= dataFrom && block < dataTo ? (fill + block) & 255 : 0;
}

class Run {
  readonly platform: MemoryPlatform;
  store!: Store;
  model: Model = new Map();
  /** Chunk ids are never used again. */
  nextChunk = testChunk + chunkCount;
  grant = 1;

  constructor(seed: number) {
    this.platform = new MemoryPlatform(seed);
    this.platform.disk.totalBytes = 24 * 1024 * 1024;
  }

  below(limit: number): number {
    return this.platform.random.below(limit);
  }

  async open(): Promise<void> {
    this.store = await Store.open(this.platform, {
      directory: "store",
      segmentBytes: 128 * 1024,
      checkpointBytes: 60_000,
    });
  }

  aChunk(): number {
    const known = [...this.model.keys()];
    return known.length < chunkCount || this.below(8) === 0 ? this.nextChunk++ : known[this.below(known.length)]!;
  }

  someWrites(): Write[] {
    return Array.from({ length: 1 + this.below(5) }, () => {
      const first = this.below(blockCount);
      const grant = this.below(4) === 0 ? Math.max(1, this.grant - this.below(4)) : ++this.grant;
      const count = 1 + this.below(blockCount - first);
      const hasZeros = this.below(3) === 0;
      const [dataFrom, dataTo] = hasZeros ? [this.below(blockCount), this.below(blockCount)] : [0, blockCount];
      return { chunk: this.aChunk(), first, count, grant, fill: this.below(256), dataFrom, dataTo };
    });
  }

  /** Writes of one grant differ in their sequence, so that no two are the same version. */
  async write(write: Write, sequence: number): Promise<void> {
    const data = Buffer.alloc(write.count * blockBytes);
    for (let at = 0; at < write.count; at++) {
      data.fill(fillOf(write, write.first + at), at * blockBytes, (at + 1) * blockBytes);
    }
    const version = { grant: write.grant * 1000 + sequence, sequence: 1 };
    await this.store.write(writeOf(write.chunk, write.first, data, version), data);
  }

  applyToModel(write: Write, sequence: number): void {
    const blocks = this.model.get(write.chunk) ?? new Array(blockCount).fill(undefined);
    this.model.set(write.chunk, blocks);
    const grant = write.grant * 1000 + sequence;
    for (let block = write.first; block < write.first + write.count; block++) {
      if ((blocks[block]?.grant ?? 0) < grant) blocks[block] = { grant, fill: fillOf(write, block) };
    }
  }

  async seen(chunk: number): Promise<(Block | undefined)[] | undefined> {
    const state = this.store.chunk(chunk);
    if (state === undefined) return undefined;
    const grants = grantsOf(state.extents);
    const blocks = new Array<Block | undefined>(blockCount).fill(undefined);
    for (let from = 0; from < blockCount; ) {
      const isLost = grants[from] === 0;
      let to = from + 1;
      while (to < blockCount && (grants[to] === 0) === isLost) to += 1;
      if (isLost) {
        await assert.rejects(this.store.read(chunk, from, to - from), /was lost/);
        blocks.fill(lost, from, to);
      } else {
        const { extents, payload } = await this.store.read(chunk, from, to - from);
        const content = contentOfExtents(extents, payload, blockCount);
        for (let block = from; block < to; block++) {
          const fill = content[block];
          if (fill !== undefined) blocks[block] = { fill, grant: grants[block]! };
        }
      }
      from = to;
    }
    return blocks;
  }

  /** Blocks of some ranges that are not there, as after the loss of the last store that had them. */
  async lose(): Promise<void> {
    const ranges = Array.from({ length: 1 + this.below(3) }, () => {
      const firstBlock = this.below(blockCount);
      return { chunk: this.aChunk(), firstBlock, blockCount: this.below(blockCount - firstBlock + 1) };
    });
    await this.store.discard({ kind: "lose", generation: 1, ranges });
    for (const range of ranges) {
      const blocks = this.model.get(range.chunk) ?? new Array(blockCount).fill(undefined);
      this.model.set(range.chunk, blocks);
      for (let at = range.firstBlock; at < range.firstBlock + range.blockCount; at++) blocks[at] ??= lost;
    }
  }

  /** What is told of losses. */
  checkLost(): void {
    const told = this.store.badBlocks.now().flatMap(({ chunk, firstBlock, blockCount: count }) => {
      return Array.from({ length: count }, (_, at) => `${chunk} ${firstBlock + at}`);
    });
    const known = [...this.model].flatMap(([chunk, blocks]) =>
      blocks.flatMap((block, at) => (block?.grant === 0 ? [`${chunk} ${at}`] : [])),
    );
    assert.deepEqual(told.sort(), known.sort());
  }

  async check(): Promise<void> {
    const places = new Set<string>();
    for (const [chunk, blocks] of this.model) {
      assert.deepEqual(await this.seen(chunk), blocks);
      for (const extent of this.store.chunk(chunk)!.extents) {
        if (extent.stamp.version.grant === 0 || isZeros(extent)) continue;
        for (let index = 0; index < extent.checksums.length; index++) {
          places.add(`${extent.segment}:${extent.offset + index * blockBytes}`);
        }
      }
    }
    assert.equal(this.store.liveBytes, places.size * blockBytes, "what is shared stays shared");
    this.checkLost();
    const { chunks } = { chunks: this.store.listChunks(3, 0, 1000).map(({ chunk }) => chunk) };
    assert.deepEqual(
      chunks,
      [...this.model.keys()].sort((left, right) => left - right),
    );
  }

  /** Power fails while writes are on their way; whatever state each block is in then becomes the model. */
  async crashDuring(writes: Write[], sequence: number): Promise<void> {
    const pending = writes.map((write, index) => this.write(write, sequence + index).catch(() => {}));
    if (this.below(2) === 0) this.store.compaction.round().catch(() => {});
    for (let turn = this.below(12); turn > 0; turn--) await undefined;
    this.platform.crash();
    await settle();
    await Promise.race([Promise.all(pending), settle()]);
    await this.open();
    const chunks = new Set([...this.model.keys(), ...writes.map(({ chunk }) => chunk)]);
    for (const chunk of chunks) {
      const seen = await this.seen(chunk);
      const before = this.model.get(chunk);
      if (seen === undefined) {
        assert.equal(before, undefined);
        continue;
      }
      for (const [number, block] of seen.entries()) {
        if (block?.grant === before?.[number]?.grant) continue;
        const cause = writes.findIndex(
          (write, index) => write.chunk === chunk && write.grant * 1000 + sequence + index === block?.grant,
        );
        assert.notEqual(cause, -1, `block ${number} of ${chunk} is ${JSON.stringify(block)}`);
        assert.ok(block!.grant > (before?.[number]?.grant ?? 0));
      }
      this.model.set(chunk, seen);
    }
  }

  /** A round of compaction, sometimes while writes and deletions are on their way. */
  async compact(): Promise<void> {
    const livedBytes = this.store.liveBytes;
    const compacting = this.store.compaction.round();
    let over = false;
    void compacting.finally(() => {
      over = true;
    });
    const alongside = this.below(2) === 0 && this.model.size > 0;
    if (alongside) {
      for (let turn = this.below(30); turn > 0; turn--) await undefined;
      await this.deleteSome();
    }
    while (!over) await this.platform.clock.advance(1_000);
    await compacting;
    if (!alongside) assert.ok(this.store.liveBytes <= livedBytes, "nothing is there twice");
    compacted.movedBytes += this.store.compaction.totals.movedBytes;
  }

  async deleteSome(): Promise<void> {
    const doomed = [...this.model.keys()].filter(() => this.below(3) === 0);
    await this.store.delete(doomed);
    for (const chunk of doomed) this.model.delete(chunk);
  }

  async step(sequence: number): Promise<void> {
    const kind = this.below(23);
    if (kind < 9) {
      const writes = this.someWrites();
      const results = await Promise.allSettled(writes.map((write, index) => this.write(write, sequence + index)));
      for (const [index, write] of writes.entries()) this.applyToModel(write, sequence + index);
      for (const result of results) {
        if (result.status === "rejected" && !hasCode(result.reason, "superseded")) throw result.reason;
      }
    } else if (kind < 12 && this.model.size > 0) {
      const source = [...this.model.keys()][this.below(this.model.size)]!;
      const count = this.below(blockCount + 1);
      const chunk = this.nextChunk++;
      await this.store.clone({ chunk, source, blockCount: count, generation: 1, session: 1, tolerant: false });
      this.model.set(
        chunk,
        this.model.get(source)!.map((block, number) => (number < count ? block : undefined)),
      );
    } else if (kind < 14 && this.model.size > 0) {
      await this.deleteSome();
    } else if (kind < 16) await this.store.checkpoint();
    else if (kind < 18) await this.platform.clock.advance(6_000);
    else if (kind < 19) await this.crashDuring(this.someWrites(), sequence);
    else if (kind < 21) await this.compact();
    else if (kind < 22) await this.lose();
    else {
      await this.store.close();
      await this.open();
    }
  }
}

function grantsOf(extents: readonly StoredExtent[]): number[] {
  const grants: number[] = [];
  for (const { firstBlock, checksums, stamp } of extents) {
    for (let index = 0; index < checksums.length; index++) grants[firstBlock + index] = stamp.version.grant;
  }
  return grants;
}

test("a store behaves as its model, crashes included", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const run = new Run(seed);
    await run.open();
    let step = 0;
    try {
      for (; step < 60; step++) {
        await run.step((step * 10) % 990);
        if (step % 4 === 3) await run.check();
      }
      await run.check();
      await run.store.close();
    } catch (error) {
      throw new Error(`seed ${seed}, step ${step}`, { cause: error });
    }
  }
  assert.ok(compacted.movedBytes > 1_000_000, `compaction has moved ${compacted.movedBytes} bytes`);
});
