/**
 * How much room the disk has, and what is kept in reserve: deletions, group changes and commits of the index must still
 * find space when clients have filled the disk, since they are the way out.
 */
import type { Disk } from "../platform/disk.ts";

const mebibyte = 1024 * 1024;
/** Of a large disk. Small ones: see `segmentBytesFor`. */
const segmentBytesLarge = 64 * mebibyte;
/** A record of a whole chunk (4 MiB and its description) must fit. */
const segmentBytesSmall = 8 * mebibyte;

/** A sixteenth of the disk, rounded down to a power of two, between 8 and 64 MiB. */
export function segmentBytesFor(totalBytes: number): number {
  let bytes = segmentBytesLarge;
  while (bytes > segmentBytesSmall && bytes * 16 > totalBytes) bytes /= 2;
  return bytes;
}

/** Two segments (the log takes whole ones), but no more than an eighth of a small disk. */
export function reserveBytesFor(totalBytes: number, segmentBytes: number): number {
  return Math.min(Math.max(64 * mebibyte, 2 * segmentBytes), Math.floor(totalBytes / 8));
}

export class DiskRoom {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #reserveBytes: number;
  readonly #totalBytes: number;
  /** As last asked for, less what was written since. */
  #freeBytes: number;
  #asking: Promise<void> | undefined;

  private constructor(
    disk: Disk,
    directory: string,
    space: { totalBytes: number; freeBytes: number },
    reserve: number,
  ) {
    this.#disk = disk;
    this.#directory = directory;
    this.#totalBytes = space.totalBytes;
    this.#freeBytes = space.freeBytes;
    this.#reserveBytes = reserve;
  }

  static async open(disk: Disk, directory: string, segmentBytes: number): Promise<DiskRoom> {
    const space = await disk.space(directory);
    return new DiskRoom(disk, directory, space, reserveBytesFor(space.totalBytes, segmentBytes));
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** What clients can still write. */
  get freeBytes(): number {
    return Math.max(0, this.#freeBytes - this.#reserveBytes);
  }

  /** Only the reserve is left, as far as is known: `refresh` before it is told to anyone. */
  get isFull(): boolean {
    return this.#freeBytes < this.#reserveBytes;
  }

  /** Half of the reserve is used up: the rest is for deletions and the index alone. */
  get isExhausted(): boolean {
    return this.#freeBytes < this.#reserveBytes / 2;
  }

  /** Less than a quarter is free: it is worth the work to give back every dead block. */
  get isTight(): boolean {
    return this.#freeBytes < this.#totalBytes / 4;
  }

  /** What compaction may write before it frees anything: half of the reserve is for deletions and the index alone. */
  get spareBytes(): number {
    return Math.max(0, this.#freeBytes - this.#reserveBytes / 2);
  }

  wrote(byteCount: number): void {
    this.#freeBytes -= byteCount;
  }

  /** Asks the file system; callers at the same time share one question. Errors: none (the estimate stays). */
  refresh(): Promise<void> {
    this.#asking ??= this.#disk
      .space(this.#directory)
      .then(
        (space) => {
          this.#freeBytes = space.freeBytes;
        },
        () => {},
      )
      .finally(() => {
        this.#asking = undefined;
      });
    return this.#asking;
  }
}
