/**
 * How much room the disk has, and what is kept in reserve: deletions, group changes and commits of the index must still
 * find space when clients have filled the disk, since they are the way out.
 */
import { BrineError } from "../errors/brine-error.ts";
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

/**
 * Two segments, but no more than an eighth of a small disk; and always one with a little more, since the log takes whole ones: without it
 * not even a deletion has room.
 */
export function reserveBytesFor(totalBytes: number, segmentBytes: number): number {
  const wanted = Math.min(Math.max(64 * mebibyte, 2 * segmentBytes), Math.floor(totalBytes / 8));
  return Math.max(wanted, segmentBytes + mebibyte);
}

export class DiskRoom {
  readonly #disk: Disk;
  readonly #directory: string;
  readonly #segmentBytes: number;
  readonly #reserveBytes: number;
  readonly #totalBytes: number;
  /** As last asked for, less what was written since. */
  #freeBytes: number;
  #asking: Promise<void> | undefined;

  private constructor(
    disk: Disk,
    directory: string,
    space: { totalBytes: number; freeBytes: number },
    segmentBytes: number,
  ) {
    this.#disk = disk;
    this.#directory = directory;
    this.#segmentBytes = segmentBytes;
    this.#totalBytes = space.totalBytes;
    this.#freeBytes = space.freeBytes;
    this.#reserveBytes = reserveBytesFor(space.totalBytes, segmentBytes);
  }

  static async open(disk: Disk, directory: string, segmentBytes: number): Promise<DiskRoom> {
    const space = await disk.space(directory);
    return new DiskRoom(disk, directory, space, segmentBytes);
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

  /** Error: noSpace. */
  check(): void {
    if (!this.isFull) return;
    throw new BrineError("noSpace", `the disk of ${this.#directory} is full`, { advice: "delete files or add stores" });
  }

  /** Half of the reserve is used up: the rest is for deletions and the index, but for what `takesRestored` says. */
  get isExhausted(): boolean {
    return this.#freeBytes < this.#reserveBytes / 2;
  }

  /**
   * Whether a write may come in that must not wait for room: one that takes another back, was acknowledged already, or repairs. It may
   * take half of the reserve, and then whatever the log's segment, or one more, has room for; deletions are left some.
   *
   * @param preparedBytes that are left of the segment
   */
  takesRestored(byteCount: number, preparedBytes: number): boolean {
    const keptBytes = Math.min(mebibyte, this.#segmentBytes / 4);
    return (
      !this.isExhausted ||
      preparedBytes >= byteCount + keptBytes ||
      this.#freeBytes >= Math.max(this.#segmentBytes, byteCount) + keptBytes
    );
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
