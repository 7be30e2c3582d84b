/** Which bytes of files the applications read, write, lock, punch and copy: so that what can go wrong there has a chance to. */
import { blockBytes, chunkBytes } from "../namespace/model.ts";
import type { ModelInode } from "./model.ts";
import type { SimulatedRandom } from "./simulated-random.ts";

const pageBytes = 4096;
/** Bytes of a file that are locked: few, so that locks meet. */
export const lockedBytes = 4;
const writeBytesMax = 1024 * 1024;
/** Less is never shared between files (client/copy-range.ts). */
const sharedBlocksMin = (256 * 1024) / blockBytes;

interface Range {
  readonly offset: number;
  readonly length: number;
}

export class Ranges {
  readonly #random: SimulatedRandom;
  readonly #largeChance: number;

  /** @param largeChance of writes up to 1 MiB */
  constructor(random: SimulatedRandom, largeChance: number) {
    this.#random = random;
    this.#largeChance = largeChance;
  }

  /** Near the start, the end, the bounds of chunks, or anywhere in three chunks. */
  offset(size: number): number {
    const near = (place: number) => Math.max(0, place + this.#random.between(-6_000, 6_000));
    switch (this.#random.weighted({ start: 5, end: 3, chunk: 2, anywhere: 1 })) {
      case "start":
        return this.#random.below(this.#random.pick([8, 64]) * 1024);
      case "end":
        return near(size);
      case "chunk":
        return near(chunkBytes * this.#random.between(1, 2));
      default:
        return this.#random.below(3 * chunkBytes);
    }
  }

  /** Before the end of the file, so that nobody else needs to know. A file that is small is made a large one. */
  within(size: number): { offset: number; length: number } {
    const length = this.length();
    if (size < 2 * chunkBytes) return { offset: 3 * chunkBytes - length, length };
    const offset = this.#random.chance(0.8) ? this.offset(size) : chunkBytes * this.#random.below(3);
    return { offset: Math.min(offset, size - length), length };
  }

  /** Mostly in the middle of data, where a tail has to go; else anywhere. */
  newSize({ pieces, size }: ModelInode): number {
    if (pieces.length === 0 || this.#random.chance(0.4)) return this.offset(size);
    const { start, end } = this.#random.pick(pieces);
    return this.#random.between(start, end);
  }

  /** Bytes in one page, most of the time before the end of the file. */
  inPage(size: number): { offset: number; length: number } {
    const offset = this.#random.below(Math.min(size, 4 * pageBytes));
    return { offset, length: this.#random.between(1, pageBytes - (offset % pageBytes)) };
  }

  lockRange(): { start: number; end: number } {
    const start = this.#random.below(lockedBytes);
    return { start, end: this.#random.between(start, lockedBytes) };
  }

  length(): number {
    if (this.#random.chance(this.#largeChance)) return this.#random.between(1, 1024 * 1024);
    switch (this.#random.weighted({ bytes: 5, more: 3, blocks: 2 })) {
      case "bytes":
        return this.#random.between(1, 5_000);
      case "more":
        return this.#random.between(1, 40_000);
      default:
        return 4096 * this.#random.between(1, 8);
    }
  }

  /** Of a file: what may be zeroed, mostly around data; whole chunks, up to the end, or a part. Undefined: it has nothing. */
  hole(file: ModelInode | undefined): Range | undefined {
    if (file === undefined || file.size === 0) return undefined;
    const { size, pieces } = file;
    const piece = pieces.length === 0 ? { start: 0, end: size } : this.#random.pick(pieces);
    switch (this.#random.weighted({ inside: 4, chunks: 3, end: 2, around: 1 })) {
      case "inside": {
        const offset = this.#random.between(piece.start, piece.end - 1);
        return { offset, length: this.length() };
      }
      case "chunks": {
        const first = Math.floor(piece.start / chunkBytes) * chunkBytes;
        const offset = Math.max(0, first - this.#random.pick([0, 0, 1, 5_000]));
        const length = first - offset + chunkBytes * this.#random.between(1, 2) + this.#random.pick([0, 0, 1, 5_000]);
        return { offset, length };
      }
      case "end": {
        const offset = this.#random.pick([piece.start, this.#random.below(size)]);
        return { offset, length: size - offset + this.#random.below(10_000) };
      }
      default: {
        const offset = Math.max(0, piece.start - this.#random.below(10_000));
        return { offset, length: piece.end - offset + this.#random.below(10_000) };
      }
    }
  }

  /** fallocate(2) without flags: mostly behind the end. */
  reserved(size: number): Range {
    return { offset: this.offset(size), length: this.length() };
  }

  /**
   * Within one chunk of the source, so that it is one step as a rule; now and then such that both files can share blocks
   * afterwards. Undefined: the source has nothing.
   */
  copy(sourceSize: number, size: number): (Range & { readonly sourceOffset: number }) | undefined {
    if (sourceSize === 0) return undefined;
    const sourceOffset = this.#random.below(sourceSize);
    const chunk = Math.floor(sourceOffset / chunkBytes) * chunkBytes;
    const left = Math.min(sourceSize - chunk, writeBytesMax);
    if (left >= sharedBlocksMin * blockBytes && this.#random.chance(0.5)) {
      const blocks = this.#random.between(sharedBlocksMin, Math.floor(left / blockBytes));
      const offset = chunkBytes * this.#random.below(Math.floor(size / chunkBytes) + 1);
      return { offset, sourceOffset: chunk, length: blocks * blockBytes };
    }
    const length = Math.min(this.length(), chunk + chunkBytes - sourceOffset);
    return { offset: this.offset(size), sourceOffset, length };
  }
}
