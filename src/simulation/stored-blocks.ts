/** The blocks that a store has on its simulated disk, one by one, as faults and checkers look at them: past all code under test but its index. */
import { blockBytes } from "../namespace/model.ts";
import { isLost, isZeros, overlapping, type StoredExtent } from "../store/extents.ts";
import type { StoreServer } from "../store/store-server.ts";
import { compareVersions } from "../wire/catalogue/store.ts";
import { verifyBlocks } from "../wire/checksum.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { StoredFile } from "./stored-file.ts";

const chunksMax = 1_000;

export interface StoredBlock {
  readonly chunk: number;
  /** Of one block. */
  readonly extent: StoredExtent;
}

export class StoredBlocks {
  readonly #contents: StoreServer["contents"];
  readonly #segment: (segment: number) => StoredFile | undefined;

  constructor(contents: StoreServer["contents"], segment: (segment: number) => StoredFile | undefined) {
    this.#contents = contents;
    this.#segment = segment;
  }

  /** Any one; undefined while there is none, or the choice fell on one that can't rot. */
  pick(random: SimulatedRandom): StoredBlock | undefined {
    const chunks = this.#contents.chunksFrom(0, chunksMax);
    if (chunks.length === 0) return undefined;
    const chunk = random.pick(chunks);
    const extents = this.#contents.peek(chunk)?.extents ?? [];
    if (extents.length === 0) return undefined;
    const extent = random.pick(extents);
    if (isZeros(extent)) return undefined;
    const { firstBlock, checksums, segment, offset } = extent;
    // What rots in the newest commit before a crash is taken for a write that was not finished (log/recovery.ts).
    const last = this.#contents.lastCommitStart;
    if (segment === last.segment && offset >= last.offset) return undefined;
    return this.at(chunk, firstBlock + random.below(checksums.length));
  }

  at(chunk: number, block: number): StoredBlock | undefined {
    const [extent] = overlapping(this.#contents.peek(chunk)?.extents ?? [], block, block + 1);
    return extent && { chunk, extent };
  }

  /** Those that are the same bytes of the same write: clones, and copies of it in other places. */
  *copiesOf({ extent }: StoredBlock): Iterable<StoredBlock> {
    for (const chunk of this.#contents.chunksFrom(0, chunksMax)) {
      const there = this.at(chunk, extent.firstBlock);
      if (there !== undefined && isSameWrite(there.extent, extent)) yield there;
    }
  }

  /** As the disk has it now. */
  isGood({ extent }: StoredBlock): boolean {
    const { firstBlock, checksums, origin, stamp, segment, offset } = extent;
    if (isLost(stamp)) return false;
    if (isZeros(extent)) return true;
    const file = this.#segment(segment);
    if (file?.isReadable(offset, blockBytes) === false) return false;
    const data = Buffer.alloc(blockBytes);
    file?.read(data, offset);
    return verifyBlocks(data, origin, firstBlock, stamp.version, checksums) === -1;
  }

  /** A sector of it can't be read any more. */
  spoil({ extent }: StoredBlock, random: SimulatedRandom): void {
    this.#segment(extent.segment)?.spoil(extent.offset, blockBytes, random);
  }

  /** One bit of it flips. */
  rot({ extent }: StoredBlock, random: SimulatedRandom): void {
    this.#segment(extent.segment)?.rot(extent.offset + random.below(blockBytes), 1 << random.below(8));
  }
}

function isSameWrite(left: StoredExtent, right: StoredExtent): boolean {
  const isSamePlace = left.origin === right.origin && left.firstBlock === right.firstBlock;
  return isSamePlace && compareVersions(left.stamp.version, right.stamp.version) === 0;
}
