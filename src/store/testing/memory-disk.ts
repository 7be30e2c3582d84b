/**
 * A disk in memory for tests: counts space, fails on demand, dies in the middle of what is done with it, and at a crash drops what
 * was not synced: pages of files, and names of files made or removed in a directory.
 */
import { type Disk, DiskError, type DiskFile, type OpenOptions } from "../../platform/disk.ts";

const pageBytes = 4096;

interface MemoryFile {
  /** What reads see; a page that is missing reads as zeros. */
  pages: Map<number, Uint8Array>;
  size: number;
  /** Pages and size changed since the last sync; undefined: was missing. */
  undo: Map<number, Uint8Array | undefined>;
  durableSize: number;
}

export class MemoryDisk implements Disk {
  readonly files = new Map<string, MemoryFile>();
  /** By names, as a crash that keeps nothing leaves them. */
  readonly #durableFiles = new Map<string, MemoryFile>();
  totalBytes = 1 << 30;
  /** Set to an errno name to make the next writes and syncs (or reads) fail. */
  failWrites: string | undefined;
  failReads: string | undefined;
  /** Set to a promise to make writes and syncs hang until it resolves. */
  hang: Promise<void> | undefined;
  punchedBytes = 0;
  /** The process dies after so many more operations that change something: they never end. */
  operationsLeft = Number.POSITIVE_INFINITY;
  /** Called when it has died so. */
  onDeath: () => void = () => {};
  #temporaries = 0;
  #incarnation = 0;

  usedBytes(): number {
    let pages = 0;
    for (const file of this.files.values()) pages += file.pages.size;
    return pages * pageBytes;
  }

  /** The process died: what it has open is closed, what it has written is there. */
  kill(): void {
    this.#incarnation += 1;
    this.operationsLeft = Number.POSITIVE_INFINITY;
  }

  /** The machine lost power: of each page and name that was not synced, `keeps()` says whether it got to the disk nevertheless. */
  crash(keeps: () => boolean): void {
    this.kill();
    for (const path of new Set([...this.files.keys(), ...this.#durableFiles.keys()])) {
      const before = this.#durableFiles.get(path);
      if (this.files.get(path) === before || keeps()) continue;
      if (before === undefined) this.files.delete(path);
      else this.files.set(path, before);
    }
    for (const path of this.#durableFiles.keys()) this.#syncName(path);
    for (const path of this.files.keys()) this.#syncName(path);
    for (const file of this.files.values()) {
      for (const [number, before] of file.undo) {
        if (keeps()) continue;
        if (before === undefined) file.pages.delete(number);
        else file.pages.set(number, before);
      }
      file.undo.clear();
      file.size = file.durableSize;
    }
  }

  async open(path: string, options: OpenOptions = {}): Promise<DiskFile> {
    let file = this.files.get(path);
    if (file === undefined) {
      if (options.create !== true) throw new DiskError("ENOENT", "open", path);
      await this.operation();
      file = { pages: new Map(), size: 0, undo: new Map(), durableSize: 0 };
      this.files.set(path, file);
    }
    return new OpenFile(this, path, file, this.#incarnation, options.durable === true);
  }

  isAlive(incarnation: number): boolean {
    return incarnation === this.#incarnation;
  }

  async makeDirectory(): Promise<void> {}

  async list(path: string): Promise<string[]> {
    const names = [...this.files.keys()].filter((name) => name.startsWith(`${path}/`));
    return names
      .map((name) => name.slice(path.length + 1))
      .filter((name) => !name.includes("/"))
      .sort();
  }

  async remove(path: string): Promise<void> {
    const incarnation = this.#incarnation;
    await this.operation();
    this.#checkAlive(incarnation, "remove", path);
    this.files.delete(path);
  }

  async syncDirectory(directory: string): Promise<void> {
    await this.operation();
    for (const path of [...this.files.keys(), ...this.#durableFiles.keys()]) {
      if (path.slice(0, path.lastIndexOf("/")) === directory) this.#syncName(path);
    }
  }

  /** Something is about to be changed, or made durable. */
  async operation(): Promise<void> {
    if (this.operationsLeft <= 0) {
      this.onDeath();
      await new Promise<void>(() => {});
    }
    this.operationsLeft -= 1;
  }

  async readFile(path: string): Promise<Uint8Array | undefined> {
    const file = this.files.get(path);
    if (file === undefined) return undefined;
    const buffer = new Uint8Array(file.size);
    await (await this.open(path)).read(buffer, 0);
    return buffer;
  }

  async writeFile(path: string, content: Uint8Array): Promise<void> {
    const incarnation = this.#incarnation;
    // A store that a crash has ended may still come by: it must not take away the file of the next one.
    this.#temporaries += 1;
    const temporary = `${path}.new${this.#temporaries}`;
    const file = await this.open(temporary, { create: true });
    const made = this.files.get(temporary)!;
    await file.write([content], 0);
    await file.syncData();
    await this.operation();
    this.#checkAlive(incarnation, "rename", path);
    this.files.set(path, made);
    this.files.delete(temporary);
    await this.syncDirectory(path.slice(0, path.lastIndexOf("/")));
  }

  async space(): Promise<{ totalBytes: number; freeBytes: number }> {
    return { totalBytes: this.totalBytes, freeBytes: Math.max(0, this.totalBytes - this.usedBytes()) };
  }

  async lockDirectory(): Promise<{ release(): void }> {
    return { release: () => {} };
  }

  /** Of a process that has died nothing more happens. */
  #checkAlive(incarnation: number, operation: string, path: string): void {
    if (!this.isAlive(incarnation)) throw new DiskError("EBADF", operation, path);
  }

  #syncName(path: string): void {
    const file = this.files.get(path);
    if (file === undefined) this.#durableFiles.delete(path);
    else this.#durableFiles.set(path, file);
  }
}

class OpenFile implements DiskFile {
  readonly #disk: MemoryDisk;
  readonly #path: string;
  readonly #file: MemoryFile;
  readonly #incarnation: number;
  readonly #isDurable: boolean;

  constructor(disk: MemoryDisk, path: string, file: MemoryFile, incarnation: number, isDurable: boolean) {
    this.#disk = disk;
    this.#path = path;
    this.#file = file;
    this.#incarnation = incarnation;
    this.#isDurable = isDurable;
  }

  async read(buffer: Uint8Array, position: number): Promise<number> {
    if (this.#disk.failReads !== undefined) throw new DiskError(this.#disk.failReads, "read", this.#path);
    const end = Math.min(position + buffer.byteLength, this.#file.size);
    for (let at = position; at < end; ) {
      const within = at % pageBytes;
      const length = Math.min(pageBytes - within, end - at);
      const page = this.#file.pages.get(Math.floor(at / pageBytes));
      const target = buffer.subarray(at - position, at - position + length);
      if (page === undefined) target.fill(0);
      else target.set(page.subarray(within, within + length));
      at += length;
    }
    return Math.max(0, end - position);
  }

  async write(buffers: readonly Uint8Array[], position: number): Promise<void> {
    await this.#disk.operation();
    await this.#disk.hang;
    this.#check("write");
    let at = position;
    for (const buffer of buffers) {
      for (let from = 0; from < buffer.byteLength; ) {
        const within = at % pageBytes;
        const length = Math.min(pageBytes - within, buffer.byteLength - from);
        const number = Math.floor(at / pageBytes);
        const before = this.#file.pages.get(number);
        const page = before === undefined ? new Uint8Array(pageBytes) : before.slice();
        page.set(buffer.subarray(from, from + length), within);
        this.#put(number, page);
        from += length;
        at += length;
      }
    }
    this.#file.size = Math.max(this.#file.size, at);
    if (this.#isDurable) await this.syncData();
  }

  async syncData(): Promise<void> {
    await this.#disk.operation();
    await this.#disk.hang;
    this.#check("fdatasync");
    this.#file.undo.clear();
    this.#file.durableSize = this.#file.size;
  }

  async allocate(position: number, length: number): Promise<void> {
    await this.#disk.operation();
    this.#check("fallocate");
    const { freeBytes } = await this.#disk.space();
    if (freeBytes < length) throw new DiskError("ENOSPC", "fallocate", this.#path);
    for (let at = position; at < position + length; at += pageBytes) {
      const number = Math.floor(at / pageBytes);
      if (!this.#file.pages.has(number)) this.#file.pages.set(number, new Uint8Array(pageBytes));
    }
    this.#file.size = Math.max(this.#file.size, position + length);
  }

  async punch(position: number, length: number): Promise<void> {
    await this.#disk.operation();
    this.#check("punch");
    for (let at = position; at < position + length; at += pageBytes) {
      this.#file.pages.delete(at / pageBytes);
      this.#file.undo.delete(at / pageBytes);
    }
    this.#disk.punchedBytes += length;
  }

  async size(): Promise<number> {
    return this.#file.size;
  }

  async forget(): Promise<void> {}

  async allocatedBytes(): Promise<number> {
    return this.#file.pages.size * pageBytes;
  }

  async isInPlace(): Promise<boolean> {
    return this.#disk.files.get(this.#path) === this.#file;
  }

  async close(): Promise<void> {}

  #put(number: number, page: Uint8Array): void {
    if (!this.#file.undo.has(number)) this.#file.undo.set(number, this.#file.pages.get(number));
    this.#file.pages.set(number, page);
  }

  #check(operation: string): void {
    if (!this.#disk.isAlive(this.#incarnation)) throw new DiskError("EBADF", operation, this.#path);
    if (this.#disk.failWrites !== undefined) throw new DiskError(this.#disk.failWrites, operation, this.#path);
  }
}
