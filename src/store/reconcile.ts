/** Makes one chunk equal to the source's copy: looks at both, reads there, changes here (see comparison.ts for the rules). */
import { hasCode } from "../errors/brine-error.ts";
import { blockBytes } from "../namespace/model.ts";
import type { Logger } from "../platform/logger.ts";
import { type Extent, listExtents, readBlocks, reportBad } from "../wire/catalogue/store.ts";
import { verifyBlocks } from "../wire/checksum.ts";
import { responsePayloads } from "../wire/payload-pool.ts";
import type { Peer } from "../wire/peer.ts";
import { blocksHere, compare, type IsLive, type Range, verdictOf } from "./comparison.ts";
import type { Stamp } from "./record.ts";
import type { Store } from "./store.ts";

/** A request reads at most 1 MiB; a source that takes longer is as good as gone, and the whole is tried again. */
export const sourceTimeoutMs = 10_000;

export interface Reconciliation {
  readonly store: Store;
  readonly logger: Logger;
  readonly source: Peer;
  readonly group: number;
  readonly generation: number;
  readonly isLive: IsLive;
  /** Resolves when so many bytes may be copied. */
  readonly paced: (bytes: number) => Promise<void>;
  /** True if the leader has deleted the chunk meanwhile: it must not come back. */
  readonly isDeleted: (chunk: number) => boolean;
  /** Blocks here that may be bad are replaced by what any member in sync has. Never rejects. */
  readonly repair: (chunk: number, range: Range) => Promise<void>;
  /** Blocks that the source's disk doesn't give are taken as bad; else they are an error. */
  readonly takesUnreadable: boolean;
}

export interface Reconciled {
  readonly copiedBlocks: number;
  /** False for a chunk that is new here and not yet at the source: look again later. */
  readonly settled: boolean;
}

/** Errors: of the source's answers, timedOut, closed; noSpace and diskFailed of the own store. */
export async function reconcileChunk(work: Reconciliation, chunk: number): Promise<Reconciled> {
  const there = await extentsAtSource(work, chunk);
  const here = work.store.chunk(chunk);
  const { fetch, discard, lose } = compare(here, there, work.isLive);
  let copiedBlocks = 0;
  if (there !== undefined && here === undefined && there.length === 0) await makeEmpty(work, chunk);
  for (const range of fetch) copiedBlocks += await copy(work, chunk, range, there!);
  await Promise.all(discard.map((range) => work.store.discard({ kind: "discard", chunk, ...range })));
  if (lose.length > 0 && !work.isDeleted(chunk)) {
    const ranges = lose.map(({ from, to }) => ({ chunk, firstBlock: from, blockCount: to - from }));
    await work.store.discard({ kind: "lose", generation: work.generation, ranges });
  }
  if (there !== undefined || here === undefined) return { copiedBlocks, settled: true };
  if (work.isLive(here) || here.extents.some((extent) => work.isLive(extent.stamp))) {
    return { copiedBlocks, settled: false };
  }
  await work.store.discard({ kind: "deleteEmpty", chunk, generation: here.generation + 1, session: here.session });
  return { copiedBlocks, settled: true };
}

async function extentsAtSource(work: Reconciliation, chunk: number): Promise<readonly Extent[] | undefined> {
  const { group, generation } = work;
  try {
    const { body } = await work.source.request(
      listExtents,
      { group, generation, chunk },
      { timeoutMs: sourceTimeoutMs },
    );
    return body.extents;
  } catch (error) {
    if (hasCode(error, "unknownChunk")) return undefined;
    throw error;
  }
}

async function makeEmpty(work: Reconciliation, chunk: number): Promise<void> {
  if (work.isDeleted(chunk)) return;
  const { generation } = work;
  await work.store.clone({ chunk, source: chunk, blockCount: 0, generation, session: 0, tolerant: true });
}

/** Copies what is needed of a range, as it is `there`; returns the blocks that were taken. */
async function copy(work: Reconciliation, chunk: number, range: Range, there: readonly Extent[]): Promise<number> {
  const { from, to } = range;
  await work.paced((to - from) * blockBytes);
  const read = await readAtSource(work, chunk, range);
  if (read !== undefined) {
    const taken = await lay(work, chunk, range, read.extents, read.payload);
    responsePayloads.giveBack(read.payload);
    return taken;
  }
  // As a block that is bad there: with the checksum that says so.
  if (to - from === 1) return lay(work, chunk, range, blockOf(there, from), Buffer.alloc(blockBytes));
  const middle = from + ((to - from) >> 1);
  const taken = await copy(work, chunk, { from, to: middle }, there);
  return taken + (await copy(work, chunk, { from: middle, to }, there));
}

/** Undefined if the source's disk doesn't give some of it, and that is to be taken. */
async function readAtSource(
  work: Reconciliation,
  chunk: number,
  { from, to }: Range,
): Promise<{ extents: readonly Extent[]; payload: Uint8Array } | undefined> {
  const { group, generation } = work;
  const body = { session: 0, group, generation, chunk, firstBlock: from, blockCount: to - from };
  try {
    const reply = await work.source.request(readBlocks, body, { timeoutMs: sourceTimeoutMs });
    return { extents: reply.body.extents, payload: reply.payload };
  } catch (error) {
    if (work.takesUnreadable && hasCode(error, "diskFailed")) return undefined;
    throw error;
  }
}

/** One block of an extent: with its checksum, whatever its data is. */
function blockOf(extents: readonly Extent[], block: number): Extent[] {
  return extents.flatMap(({ firstBlock, version, origin, checksums }) => {
    const checksum = checksums[block - firstBlock];
    return checksum === undefined ? [] : [{ firstBlock: block, version, origin, checksums: [checksum] }];
  });
}

/** Returns the blocks that were taken. */
async function lay(
  work: Reconciliation,
  chunk: number,
  range: Range,
  extents: readonly Extent[],
  payload: Uint8Array,
): Promise<number> {
  const { generation, store } = work;
  await store.readyToWrite();
  if (work.isDeleted(chunk)) return 0;
  const appended: Promise<void>[] = [];
  let taken = 0;
  let position = 0;
  let isDamaged = false;
  // From here to the last append nothing waits: the verdicts are of this moment.
  const present = blocksHere(store.chunk(chunk)?.extents ?? []);
  for (const extent of extents) {
    const length = extent.checksums.length * blockBytes;
    const data = payload.subarray(position, position + length);
    position += length;
    const isGood = !noticeDamage(work, chunk, extent, data);
    if (!isGood) isDamaged = true;
    for (const run of runsToTake(extent, present, work.isLive)) {
      const { from, to, expected } = run;
      const skip = from - extent.firstBlock;
      const stamp: Stamp = { version: extent.version, generation, session: 0 };
      const checksums = extent.checksums.slice(skip, to - extent.firstBlock);
      const blocks = data.subarray(skip * blockBytes, (to - extent.firstBlock) * blockBytes);
      const replacement = { chunk, firstBlock: from, stamp, origin: extent.origin, checksums, expected };
      appended.push(store.replace(replacement, blocks, { isGood }));
      taken += to - from;
    }
  }
  await Promise.all(appended);
  if (isDamaged) await work.repair(chunk, range);
  return taken;
}

/** Runs of an extent's blocks that are to be taken, each over blocks of one stamp (`expected`) or over none and older ones. */
function runsToTake(
  extent: Extent,
  present: readonly ReturnType<typeof blocksHere>[number][],
  isLive: IsLive,
): (Range & { expected: Stamp | undefined })[] {
  const runs: { from: number; to: number; expected: Stamp | undefined }[] = [];
  extent.checksums.forEach((checksum, index) => {
    const block = extent.firstBlock + index;
    const verdict = verdictOf(present[block], { version: extent.version, origin: extent.origin, checksum }, isLive);
    if (verdict !== "take" && verdict !== "takeInstead") return;
    const expected = verdict === "takeInstead" ? present[block]!.stamp : undefined;
    const last = runs.at(-1);
    if (last !== undefined && last.to === block && last.expected === expected) last.to = block + 1;
    else runs.push({ from: block, to: block + 1, expected });
  });
  return runs;
}

/**
 * A block that is bad at the source is copied as it is, with the checksum that says so: readers find out as they would
 * there, and one bad block doesn't keep a member from becoming in sync with all the others. Then it is repaired here from who has
 * a good copy, before this one counts: that member may be the one that is to leave. True for an extent with such a block.
 */
function noticeDamage(work: Reconciliation, chunk: number, extent: Extent, data: Uint8Array): boolean {
  const bad = verifyBlocks(data, extent.origin, extent.firstBlock, extent.version, extent.checksums);
  if (bad === -1) return false;
  const { group, generation, source } = work;
  const { firstBlock, checksums } = extent;
  work.logger.error("the source's copy is bad", { source: source.remote.address, chunk, block: firstBlock + bad });
  const body = { session: 0, group, generation, chunk, firstBlock, blockCount: checksums.length };
  source.request(reportBad, body, { timeoutMs: sourceTimeoutMs }).catch((error) => {
    work.logger.warn("the source could not be told of its bad copy", { chunk, reason: String(error) });
  });
  return true;
}
