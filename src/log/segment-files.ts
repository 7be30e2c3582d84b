/** The segment files of one log, opened when they are needed and a bounded number of them at a time. */
import { BrineError } from "../errors/brine-error.ts";
import type { Clock } from "../platform/clock.ts";
import { type Disk, DiskError, type DiskFile } from "../platform/disk.ts";
import { segmentName } from "./segment-format.ts";

/** A process may often have only 1,024 files open; sockets and databases need some, and a server may have two logs. */
const openFilesMax = 256;

/**
 * How often it is made sure that what is written to is still where a start would look for it. A directory that was removed under a
 * server takes writes as before, and syncs them, into files without a name.
 */
const lookMs = 1_000;

interface OpenFile {
  readonly file: Promise<DiskFile>;
  users: number;
}

export class SegmentFiles {
  readonly #disk: Disk;
  readonly #clock: Clock;
  readonly #directory: string;
  /** In the order of their last use, the oldest first. */
  readonly #open = new Map<number, OpenFile>();

  #lookedMs: number;

  constructor(disk: Disk, clock: Clock, directory: string) {
    this.#disk = disk;
    this.#clock = clock;
    this.#lookedMs = clock.nowMs();
    this.#directory = directory;
  }

  path(segment: number): string {
    return `${this.#directory}/${segmentName(segment)}`;
  }

  /** Runs `action` with the open file. Errors: those of the action, and of opening; DiskError as BrineError. */
  async use<T>(segment: number, action: (file: DiskFile) => Promise<T>): Promise<T> {
    const open = this.#take(segment);
    open.users += 1;
    try {
      return await action(await open.file);
    } catch (error) {
      throw asBrineError(error);
    } finally {
      open.users -= 1;
      this.#closeUnused();
    }
  }

  /** Durable, and where the next start finds it, when it resolves. Errors: as `use`, and diskFailed. */
  async write(segment: number, buffers: readonly Uint8Array[], offset: number): Promise<void> {
    await this.use(segment, (file) => file.write(buffers, offset));
    if (this.#clock.nowMs() - this.#lookedMs >= lookMs) await this.look(segment);
  }

  /** Errors: diskFailed (the segment is not in its place). */
  async look(segment: number): Promise<void> {
    this.#lookedMs = this.#clock.nowMs();
    if (await this.use(segment, (file) => file.isInPlace())) return;
    throw new BrineError(
      "diskFailed",
      `${this.path(segment)} is gone: it, or a directory above it, was removed, replaced or covered by a mount`,
    );
  }

  /** Returns the bytes read. `fromDisk`: not from memory. Errors: as `use`. */
  read(segment: number, offset: number, buffer: Uint8Array, fromDisk: boolean): Promise<number> {
    return this.use(segment, async (file) => {
      if (!fromDisk) return file.read(buffer, offset);
      await file.forget(offset, buffer.byteLength);
      const count = await file.read(buffer, offset);
      await file.forget(offset, buffer.byteLength); // nor does what is read once crowd out what is read often
      return count;
    });
  }

  /**
   * Makes the file of a new segment and reserves its space.
   * Errors: noSpace (no trace is left), diskFailed.
   */
  async create(segment: number, sizeBytes: number, header: Uint8Array): Promise<void> {
    const file = await this.#allocate(this.path(segment), sizeBytes);
    this.#open.set(segment, { file: Promise.resolve(file), users: 0 });
    this.#closeUnused();
    // Header and directory entry are durable before the first commit is written: a commit never stands without them.
    await file.write([header], 0);
    await this.#disk.syncDirectory(this.#directory);
  }

  /** Errors: as `use`. */
  async remove(segment: number): Promise<void> {
    const open = this.#open.get(segment);
    this.#open.delete(segment);
    try {
      if (open !== undefined) await close(open);
      await this.#disk.remove(this.path(segment));
      await this.#disk.syncDirectory(this.#directory);
    } catch (error) {
      throw asBrineError(error);
    }
  }

  async close(): Promise<void> {
    const files = [...this.#open.values()];
    this.#open.clear();
    for (const open of files) await close(open);
  }

  async #allocate(path: string, sizeBytes: number): Promise<DiskFile> {
    let file: DiskFile | undefined;
    try {
      file = await this.#disk.open(path, { create: true, durable: true });
      await file.allocate(0, sizeBytes);
      return file;
    } catch (error) {
      await file?.close();
      await this.#disk.remove(path);
      throw asBrineError(error);
    }
  }

  #take(segment: number): OpenFile {
    let open = this.#open.get(segment);
    if (open === undefined) {
      open = { file: this.#disk.open(this.path(segment), { durable: true }), users: 0 };
      open.file.catch(() => this.#open.delete(segment)); // `use` reports it; the next use tries again
    } else this.#open.delete(segment);
    this.#open.set(segment, open);
    return open;
  }

  #closeUnused(): void {
    if (this.#open.size <= openFilesMax) return;
    for (const [segment, open] of this.#open) {
      if (open.users > 0) continue;
      this.#open.delete(segment);
      close(open).catch(() => {}); // nothing unsynced is in it: the file that is written to is used or the newest
      return;
    }
  }
}

/**
 * Writes what is there, so that it is on the disk: before, it may have been in the page cache only, and taken for clean there
 * because a sync failed. Errors: DiskError.
 */
export async function writeAgain(file: DiskFile, from: number, to: number): Promise<void> {
  const part = Buffer.alloc(Math.min(to - from, 1024 * 1024));
  for (let at = from; at < to; ) {
    const count = await file.read(part.subarray(0, to - at), at);
    if (count === 0) throw new DiskError("EIO", "read", `the file ends at ${at}, before ${to}`);
    await file.write([part.subarray(0, count)], at);
    at += count;
  }
}

async function close(open: OpenFile): Promise<void> {
  const file = await open.file.catch(() => undefined);
  await file?.close();
}

/** A DiskError as what the callers of a log get; other errors as they are. */
export function asBrineError(error: unknown): unknown {
  if (!(error instanceof DiskError)) return error;
  const full = error.code === "ENOSPC" || error.code === "EDQUOT";
  return full
    ? new BrineError("noSpace", error.message, { advice: "free space on this disk", cause: error })
    : new BrineError("diskFailed", error.message, { advice: "look at the kernel's log for this disk", cause: error });
}
