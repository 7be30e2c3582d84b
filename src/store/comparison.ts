/**
 * What has to be done to make a member's copy of a chunk equal to the source's, while clients go on writing. Pure.
 *
 * The difficulty is a block that is newer here than at the source. It is one of two things:
 *
 * - a write that never became complete: this member had it, failed, and the writer died or finished without it. The
 *   source is right, and the block must go back;
 * - a write that is under way: it has arrived here and not there yet. Taking it back would lose it, since its writer has
 *   our acknowledgement already.
 *
 * Versions can't tell them apart. Stamps can: a write under way was admitted in the present generation (a writer counts
 * only acknowledgements of one generation, so a write that a change of generation interrupted is sent again, and is
 * stamped anew) by a session that has not ended. `isLive` says that of a stamp; the caller knows generation and sessions.
 *
 * Between this look and the change that follows from it, clients may write again. So a change says which stamp it
 * expects to find, and does nothing to a block that has another one by then (record.ts, state.ts).
 */
import { blocksPerChunk } from "../namespace/model.ts";
import { compareVersions, type Extent } from "../wire/catalogue/store.ts";
import type { ChunkState } from "./chunk-row.ts";
import { isLost, type StoredExtent } from "./extents.ts";
import type { RecordOf, Stamp } from "./record.ts";

export interface Range {
  readonly from: number;
  /** Exclusive. */
  readonly to: number;
}

/** Generation and session of a block's stamp, or of a chunk. */
export type IsLive = (writer: { readonly generation: number; readonly session: number }) => boolean;

export interface Comparison {
  /** Blocks to read at the source. */
  readonly fetch: Range[];
  /** Blocks that the source doesn't have. */
  readonly discard: Omit<RecordOf<"discard">, "kind" | "chunk">[];
  /** Blocks that the source calls lost: to be marked so here, where `discard` has made holes. */
  readonly lose: Range[];
}

/** What becomes of one block here, given the source's. */
export type Verdict = "keep" | "take" | "takeInstead" | "discard" | "lose" | "loseInstead";

export function verdictOf(present: BlockHere | undefined, wanted: BlockThere | undefined, isLive: IsLive): Verdict {
  if (wanted === undefined) return present === undefined || isLive(present.stamp) ? "keep" : "discard";
  if (isLost(wanted)) {
    if (present === undefined) return "lose";
    if (isLost(present.stamp)) return "keep";
    return isLive(present.stamp) ? "keep" : "loseInstead";
  }
  if (present === undefined) return "take";
  const order = compareVersions(present.stamp.version, wanted.version);
  if (order < 0) return "take";
  if (order === 0 && present.origin === wanted.origin && present.checksum === wanted.checksum) return "keep";
  return isLive(present.stamp) ? "keep" : "takeInstead";
}

export interface BlockHere {
  readonly stamp: Stamp;
  readonly origin: number;
  readonly checksum: number;
}

export interface BlockThere {
  readonly version: Stamp["version"];
  readonly origin: number;
  readonly checksum: number;
}

/** A list of extents as a function from block number to block. */
export function blocksHere(extents: readonly StoredExtent[]): (BlockHere | undefined)[] {
  const blocks: (BlockHere | undefined)[] = new Array(blocksPerChunk).fill(undefined);
  for (const { firstBlock, stamp, origin, checksums } of extents) {
    for (let index = 0; index < checksums.length; index++) {
      blocks[firstBlock + index] = { stamp, origin, checksum: checksums[index]! };
    }
  }
  return blocks;
}

export function blocksThere(extents: readonly Extent[]): (BlockThere | undefined)[] {
  const blocks: (BlockThere | undefined)[] = new Array(blocksPerChunk).fill(undefined);
  for (const { firstBlock, version, origin, checksums } of extents) {
    for (let index = 0; index < checksums.length; index++) {
      blocks[firstBlock + index] = { version, origin, checksum: checksums[index]! };
    }
  }
  return blocks;
}

/** Blocks that need not be fetched but lie between two that do: up to here one request is cheaper than two. */
const gapBlocksMax = 8;
/** A mebibyte: an answer of the usual size. */
const fetchBlocksMax = 256;

/** `there` undefined: the source does not know the chunk. */
export function compare(
  here: ChunkState | undefined,
  there: readonly Extent[] | undefined,
  isLive: IsLive,
): Comparison {
  const present = blocksHere(here?.extents ?? []);
  const wanted = blocksThere(there ?? []);
  const fetch: { from: number; to: number }[] = [];
  const discard: { firstBlock: number; blockCount: number; expected: Stamp }[] = [];
  const lose: { from: number; to: number }[] = [];
  for (let block = 0; block < blocksPerChunk; block++) {
    const verdict = verdictOf(present[block], wanted[block], isLive);
    if (verdict === "keep") continue;
    if (verdict === "lose" || verdict === "loseInstead") {
      if (lose.at(-1)?.to === block) lose.at(-1)!.to = block + 1;
      else lose.push({ from: block, to: block + 1 });
    }
    if (verdict === "lose") continue;
    if (verdict === "discard" || verdict === "loseInstead") {
      const expected = present[block]!.stamp;
      const last = discard.at(-1);
      if (last !== undefined && last.firstBlock + last.blockCount === block && last.expected === expected) {
        last.blockCount += 1;
      } else discard.push({ firstBlock: block, blockCount: 1, expected });
      continue;
    }
    const last = fetch.at(-1);
    const isNear = last !== undefined && block - last.to <= gapBlocksMax && block + 1 - last.from <= fetchBlocksMax;
    // What lies between is read, too.
    if (isNear && !wanted.slice(last.to, block).some((between) => between !== undefined && isLost(between)))
      last.to = block + 1;
    else fetch.push({ from: block, to: block + 1 });
  }
  return { fetch, discard, lose };
}
