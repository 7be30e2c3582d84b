/** Whole blocks that are going to be written, and the space for them. */
import { blockBytes, groupOfChunk } from "../../namespace/model.ts";
import type { Span } from "./buffer-pool.ts";
import type { ChunkView } from "./chunk-view.ts";
import type { SpaceGrants } from "./space-grants.ts";

export interface Run {
  readonly view: ChunkView;
  readonly first: number;
  readonly span: Span;
  /** Offset in the file of the first byte that becomes another one. */
  readonly changedFrom: number;
}

/** A record of the log beside a block's data; several share the 4 KiB in front of a commit's. */
const recordBytes = 512;

/** What blocks that are written together can take on a member's disk. */
export function grantBytesOf(blockCount: number): number {
  return blockCount * (blockBytes + recordBytes) + blockBytes;
}

/** The blocks of a run, for `takeGrants`. */
export function needOf({ view, span }: Run): Need {
  return { chunk: view.chunk, blockCount: span.bytes.byteLength / blockBytes };
}

export interface Need {
  readonly chunk: number;
  readonly blockCount: number;
}

/**
 * Takes what has to be granted of each need's group; undefined if not everything is to be had, and then nothing is taken.
 * A promise only if the leader has to be asked.
 */
export function takeGrants(space: SpaceGrants, needs: readonly Need[]): number[] | Promise<number[] | undefined> {
  const taken: number[] = [];
  for (const need of needs) {
    const bytes = grantBytesOf(need.blockCount);
    if (!space.take(groupOfChunk(need.chunk), bytes)) return obtainGrants(space, needs, taken);
    taken.push(bytes);
  }
  return taken;
}

export function giveGrantsBack(space: SpaceGrants, needs: readonly Need[], taken: readonly number[]): void {
  for (const [index, bytes] of taken.entries()) space.giveBack(groupOfChunk(needs[index]!.chunk), bytes);
}

async function obtainGrants(
  space: SpaceGrants,
  needs: readonly Need[],
  taken: number[],
): Promise<number[] | undefined> {
  for (const need of needs.slice(taken.length)) {
    const bytes = grantBytesOf(need.blockCount);
    if (!(await space.obtain(groupOfChunk(need.chunk), bytes))) {
      giveGrantsBack(space, needs, taken);
      return undefined;
    }
    taken.push(bytes);
  }
  return taken;
}
