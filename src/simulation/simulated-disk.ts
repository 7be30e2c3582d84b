/**
 * The disk as one incarnation sees it: each operation takes its time and then has its effect on the DiskMedium. Two
 * operations that are under way at the same time may finish in either order.
 */
import { type Disk, DiskError, type DiskFile, type OpenOptions } from "../platform/disk.ts";
import type { DiskMedium } from "./disk-medium.ts";
import type { Incarnation } from "./incarnation.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { StoredFile } from "./stored-file.ts";

/** An operation on the page cache. */
const cacheUsMax = 60;
/** A sync: mostly near the first, now and then as bad as the second. */
const syncUsMax = 1_200;
const slowSyncUsMax = 15_000;
const slowSyncChance = 0.02;

export class SimulatedDisk implements Disk {
  readonly random: SimulatedRandom;
  readonly #incarnation: Incarnation;
  readonly #medium: DiskMedium;

  constructor(incarnation: Incarnation, medium: DiskMedium, random: SimulatedRandom) {
    this.#incarnation = incarnation;
    this.#medium = medium;
    this.random = random;
    incarnation.onDeath(() => medium.processDied());
  }

  async open(path: string, options: OpenOptions = {}): Promise<DiskFile> {
    await this.cached("open");
    const file = options.create === true ? this.#medium.makeFile(path) : this.#medium.file(path);
    if (file === undefined) throw new DiskError("ENOENT", "open", path);
    return new SimulatedFile(this, this.#medium, path, file, options.durable === true);
  }

  async makeDirectory(path: string): Promise<void> {
    await this.synced("mkdir");
    this.#medium.makeDirectory(path);
  }

  async list(path: string): Promise<string[]> {
    await this.cached("list");
    return this.#medium.list(path);
  }

  async remove(path: string): Promise<void> {
    await this.cached("remove");
    this.#medium.removeFile(path);
  }

  async syncDirectory(path: string): Promise<void> {
    const entries = this.#medium.entries(path);
    const end = this.#medium.begin(() => this.#medium.entriesAreDurable(path, entries));
    await this.synced("fsync");
    end();
    this.#medium.entriesAreDurable(path, entries);
  }

  async readFile(path: string): Promise<Uint8Array | undefined> {
    await this.cached("read");
    const file = this.#medium.file(path);
    if (file === undefined) return undefined;
    if (!file.isReadable(0, file.sizeBytes)) throw new DiskError("EIO", "read", path);
    const content = Buffer.alloc(file.sizeBytes);
    file.read(content, 0);
    return content;
  }

  async writeFile(path: string, content: Uint8Array): Promise<void> {
    const kept = Buffer.from(content);
    const end = this.#medium.begin(() => this.#medium.replaceFile(path, kept));
    await this.synced("replace");
    end();
    this.reserve("write", path, kept.byteLength);
    this.#medium.replaceFile(path, kept);
  }

  async space(): Promise<{ totalBytes: number; freeBytes: number }> {
    await this.cached("statfs");
    const { capacityBytes, usedBytes } = this.#medium;
    return { totalBytes: capacityBytes, freeBytes: Math.max(0, capacityBytes - usedBytes) };
  }

  async lockDirectory(path: string): Promise<{ release(): void }> {
    const holder = this.#incarnation.name;
    this.#medium.lock(path, holder);
    return { release: () => this.#medium.unlock(path, holder) };
  }

  /** A file is read, written or synced: for as long as that takes, the disk owes an answer. */
  async asking(path: string, operation: () => Promise<void>): Promise<void> {
    const answered = this.#medium.asked(path, this.#incarnation.scheduler.nowUs);
    try {
      await operation();
    } finally {
      answered();
    }
  }

  /** Waits as long as an operation on the page cache takes. */
  cached(label: string): Promise<void> {
    return this.#operation(this.random.below(cacheUsMax), label);
  }

  /** Waits as long as a sync takes. */
  synced(label: string): Promise<void> {
    const most = this.random.chance(slowSyncChance) ? slowSyncUsMax : syncUsMax;
    return this.#operation(this.random.below(most), label);
  }

  /** Errors: ENOSPC. */
  reserve(operation: string, path: string, neededBytes: number): void {
    if (neededBytes > 0 && this.#medium.usedBytes + neededBytes > this.#medium.capacityBytes) {
      throw new DiskError("ENOSPC", operation, path);
    }
  }

  #operation(durationUs: number, label: string): Promise<void> {
    const stallUs = Math.max(0, this.#medium.stalledUntilUs - this.#incarnation.scheduler.nowUs);
    const slowUs = this.#medium.slowUsMax === 0 ? 0 : this.random.below(this.#medium.slowUsMax);
    return this.#incarnation.delay(stallUs + slowUs + durationUs, `disk ${label}`);
  }
}

class SimulatedFile implements DiskFile {
  readonly #disk: SimulatedDisk;
  readonly #medium: DiskMedium;
  readonly #path: string;
  readonly #file: StoredFile;
  readonly #isDurable: boolean;
  #closed = false;

  constructor(disk: SimulatedDisk, medium: DiskMedium, path: string, file: StoredFile, isDurable: boolean) {
    this.#disk = disk;
    this.#medium = medium;
    this.#path = path;
    this.#file = file;
    this.#isDurable = isDurable;
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    this.#mustBeOpen("read");
    await this.#disk.asking(this.#path, () => this.#disk.cached("read"));
    if (this.#medium.failingReads > 0) {
      this.#medium.failingReads -= 1;
      throw new DiskError("EIO", "read", this.#path);
    }
    if (!this.#file.isReadable(position, buffer.byteLength)) throw new DiskError("EIO", "read", this.#path);
    return this.#file.read(buffer, position);
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    this.#mustBeOpen("write");
    const length = buffers.reduce((sum, buffer) => sum + buffer.byteLength, 0);
    const end = this.#medium.begin((random) => {
      // A process that is killed inside pwritev(2) has written some first part.
      const part = random.chance(0.5) ? length : random.below(length + 1);
      if (part > 0) this.#file.write(position, Buffer.concat(buffers, part));
    });
    await this.#disk.asking(this.#path, () => this.#disk.cached("write"));
    end();
    this.#disk.reserve("write", this.#path, this.#file.neededBytes(position, length));
    // Taken at the end: a caller that changes its buffers before then sees its mistake on the disk.
    this.#file.write(position, Buffer.concat(buffers, length));
    if (this.#isDurable) await this.syncData();
  }

  async syncData(): Promise<void> {
    this.#mustBeOpen("fdatasync");
    const { changeNumber } = this.#file;
    const end = this.#medium.begin(() => this.#file.sync(changeNumber));
    await this.#disk.asking(this.#path, () => this.#disk.synced("fdatasync"));
    end();
    if (this.#medium.failingSyncs > 0) {
      this.#medium.failingSyncs -= 1;
      this.#file.failSync(changeNumber, this.#disk.random);
      throw new DiskError("EIO", "fdatasync", this.#path);
    }
    this.#file.sync(changeNumber);
  }

  async allocate(position: number, length: number): Promise<void> {
    this.#mustBeOpen("fallocate");
    await this.#disk.cached("fallocate");
    this.#disk.reserve("fallocate", this.#path, this.#file.neededBytes(position, length));
    this.#file.allocate(position, length);
  }

  async punch(position: number, length: number): Promise<void> {
    this.#mustBeOpen("punch");
    await this.#disk.cached("punch");
    this.#file.punch(position, length);
  }

  async size(): Promise<number> {
    this.#mustBeOpen("fstat");
    await this.#disk.cached("fstat");
    return this.#file.sizeBytes;
  }

  /** Rot is on the disk as well as in memory. */
  async forget(): Promise<void> {
    this.#mustBeOpen("fadvise");
  }

  async allocatedBytes(): Promise<number> {
    this.#mustBeOpen("fstat");
    await this.#disk.cached("fstat");
    return this.#file.usedBytes;
  }

  /** Nobody removes a simulated file that a server uses. */
  async isInPlace(): Promise<boolean> {
    this.#mustBeOpen("stat");
    return true;
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #mustBeOpen(operation: string): void {
    if (this.#closed) throw new DiskError("EBADF", operation, this.#path);
  }
}
