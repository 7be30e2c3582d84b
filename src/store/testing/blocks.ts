/** Makes blocks as a client would. */
import { blockBytes } from "../../namespace/model.ts";
import type { Version } from "../../wire/catalogue/store.ts";
import { blockChecksums, verifyBlocks } from "../../wire/checksum.ts";
import type { BlockWrite } from "../block-write.ts";
import type { StoredExtent } from "../extents.ts";
import type { Store } from "../store.ts";

export const testChunk = 3 * 2 ** 40 + 17;

/** Blocks that say where they belong: every byte of a block is `fill` plus its number. */
export function blocksOf(fill: number, firstBlock: number, count: number): Buffer {
  const data = Buffer.alloc(count * blockBytes);
  for (let index = 0; index < count; index++) {
    data.fill((fill + firstBlock + index) & 255, index * blockBytes, (index + 1) * blockBytes);
  }
  return data;
}

export function writeOf(
  chunk: number,
  firstBlock: number,
  data: Uint8Array,
  version: Version,
  options: { generation?: number; session?: number } = {},
): BlockWrite {
  const checksums = blockChecksums(data, chunk, firstBlock, version);
  return { chunk, firstBlock, version, checksums, generation: options.generation ?? 1, session: options.session ?? 1 };
}

/** First byte of each block of a chunk, undefined for holes; checks the checksums of all. */
export async function contentOf(store: Store, chunk: number, blockCount: number): Promise<(number | undefined)[]> {
  const { extents, payload } = await store.read(chunk, 0, blockCount);
  return contentOfExtents(extents, payload, blockCount);
}

export function contentOfExtents(
  extents: readonly StoredExtent[],
  payload: Uint8Array,
  blockCount: number,
): (number | undefined)[] {
  const content: (number | undefined)[] = new Array(blockCount).fill(undefined);
  let at = 0;
  for (const { firstBlock, checksums, origin, stamp } of extents) {
    const data = payload.subarray(at, at + checksums.length * blockBytes);
    const bad = verifyBlocks(data, origin, firstBlock, stamp.version, checksums);
    if (bad !== -1) throw new Error(`block ${firstBlock + bad} has a wrong checksum`);
    for (let index = 0; index < checksums.length; index++) content[firstBlock + index] = data[index * blockBytes];
    at += checksums.length * blockBytes;
  }
  return content;
}
