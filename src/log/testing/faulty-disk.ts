/**
 * A disk in memory for tests of the log. Written sectors are volatile until synced: at a crash each of them is kept or
 * lost by itself, in any combination; so are files made or removed since the directory was synced. What a failed sync should
 * have written is taken for clean afterwards, as Linux does: it is read, and no later sync writes it.
 */
import { type Disk, DiskError, type DiskFile, type OpenOptions } from "../../platform/disk.ts";

const sectorBytes = 512;

interface Inode {
  durable: Buffer;
  current: Buffer;
  /** Numbers of sectors that differ from `durable` or may. */
  readonly dirty: Set<number>;
}

export class FaultyDisk implements Disk {
  #files = new Map<string, Inode>();
  #durableFiles = new Map<string, Inode>();
  /** The process is dead after so many more operations: they never end. */
  operationsLeft = Number.POSITIVE_INFINITY;
  /** So many syncs of files go well, then one fails with EIO. */
  failingSync = Number.POSITIVE_INFINITY;
  /** Bytes that `allocate` may still give. */
  freeBytes = Number.POSITIVE_INFINITY;
  /** Bytes of a file that can't be read. */
  unreadable: { readonly path: string; readonly from: number; readonly to: number } | undefined;
  /** Called before each operation; what it returns is its error. */
  fault: (operation: string, path: string) => string | undefined = () => undefined;
  /** Resolves when the process has died. */
  readonly died: Promise<void>;
  #die!: () => void;
  /** How often each operation ran. */
  readonly counts = new Map<string, number>();
  readonly punched: { path: string; position: number; length: number }[] = [];

  constructor() {
    this.died = new Promise((resolve) => {
      this.#die = resolve;
    });
  }

  /** The disk as the next process finds it. `keeps` decides for each volatile thing whether it was kept. */
  afterCrash(keeps: () => boolean): FaultyDisk {
    const next = new FaultyDisk();
    const names = new Set([...this.#files.keys(), ...this.#durableFiles.keys()]);
    for (const name of names) {
      const [now, before] = [this.#files.get(name), this.#durableFiles.get(name)];
      const inode = now === before || keeps() ? now : before;
      if (inode === undefined) continue;
      const content = Buffer.from(inode.durable);
      const grown = inode.current.length > content.length && keeps();
      const survived = grown ? Buffer.concat([content, Buffer.alloc(inode.current.length - content.length)]) : content;
      for (const sector of inode.dirty) {
        if (keeps())
          inode.current.copy(survived, sector * sectorBytes, sector * sectorBytes, (sector + 1) * sectorBytes);
      }
      next.#files.set(name, { durable: survived, current: Buffer.from(survived), dirty: new Set() });
    }
    next.#durableFiles = new Map(next.#files);
    return next;
  }

  /** The disk as the next process finds it if only the process died: what was written is read. */
  afterRestart(): FaultyDisk {
    const next = new FaultyDisk();
    next.#files = this.#files;
    next.#durableFiles = this.#durableFiles;
    return next;
  }

  /** Bytes of a file, to damage them. */
  content(path: string): Buffer {
    const inode = this.#files.get(path)!;
    return inode.current;
  }

  async open(path: string, options: OpenOptions = {}): Promise<DiskFile> {
    return this.#operation("open", path, () => {
      let inode = this.#files.get(path);
      if (inode === undefined) {
        if (options.create !== true) throw new DiskError("ENOENT", "open", path);
        inode = { durable: Buffer.alloc(0), current: Buffer.alloc(0), dirty: new Set() };
        this.#files.set(path, inode);
      }
      return this.#file(path, inode, options.durable === true);
    });
  }

  async makeDirectory(): Promise<void> {}

  async list(path: string): Promise<string[]> {
    const names = [...this.#files.keys()].filter((name) => name.startsWith(`${path}/`));
    return names.map((name) => name.slice(path.length + 1)).sort();
  }

  remove(path: string): Promise<void> {
    return this.#operation("remove", path, () => void this.#files.delete(path));
  }

  syncDirectory(path: string): Promise<void> {
    return this.#operation("syncDirectory", path, () => {
      this.#durableFiles = new Map(this.#files);
    });
  }

  readFile(): Promise<Uint8Array | undefined> {
    throw new Error("not used by the log");
  }

  writeFile(): Promise<void> {
    throw new Error("not used by the log");
  }

  async space(): Promise<{ totalBytes: number; freeBytes: number }> {
    return { totalBytes: this.freeBytes, freeBytes: this.freeBytes };
  }

  async lockDirectory(): Promise<{ release(): void }> {
    return { release: () => {} };
  }

  #file(path: string, inode: Inode, isDurable: boolean): DiskFile {
    const write = (bytes: Uint8Array, position: number) => {
      const end = position + bytes.byteLength;
      if (end > inode.current.length) inode.current = Buffer.concat([inode.current], end);
      inode.current.set(bytes, position);
      const last = Math.ceil(end / sectorBytes);
      for (let sector = Math.floor(position / sectorBytes); sector < last; sector++) inode.dirty.add(sector);
    };
    const syncData = () =>
      this.#operation("sync", path, () => {
        if (this.failingSync-- === 0) {
          inode.dirty.clear();
          throw new DiskError("EIO", "sync", path);
        }
        if (inode.durable.length !== inode.current.length) inode.durable = Buffer.from(inode.current);
        for (const sector of inode.dirty) copySector(inode, inode.durable, sector);
        inode.dirty.clear();
      });
    return {
      read: (buffer, position) =>
        this.#operation("read", path, () => {
          const end = position + buffer.byteLength;
          const bad = this.unreadable;
          if (bad?.path === path && bad.from < end && bad.to > position) throw new DiskError("EIO", "read", path);
          return inode.current.copy(buffer, 0, position, end);
        }),
      write: async (buffers, position) => {
        await this.#operation("write", path, () => {
          const bytes = Buffer.concat(buffers);
          write(bytes, position);
        });
        if (isDurable) await syncData();
      },
      syncData,
      allocate: (position, length) =>
        this.#operation("allocate", path, () => {
          if (length > this.freeBytes) throw new DiskError("ENOSPC", "allocate", path);
          this.freeBytes -= length;
          const size = Math.max(inode.current.length, position + length);
          inode.current = Buffer.concat([inode.current], size);
        }),
      punch: (position, length) =>
        this.#operation("punch", path, () => {
          this.punched.push({ path, position, length });
          write(Buffer.alloc(length), position);
        }),
      size: () => this.#operation("size", path, () => inode.current.length),
      forget: async () => {},
      allocatedBytes: () => this.#operation("size", path, () => inode.current.length),
      isInPlace: () => this.#operation("stat", path, () => this.#files.get(path) === inode),
      close: async () => {},
    };
  }

  /** An operation takes effect in the turn after its call; the last one before a death may or may not. */
  async #operation<T>(operation: string, path: string, action: () => T): Promise<T> {
    this.counts.set(operation, (this.counts.get(operation) ?? 0) + 1);
    if (this.operationsLeft <= 0) {
      this.#die();
      return new Promise<T>(() => {});
    }
    this.operationsLeft -= 1;
    await undefined;
    const code = this.fault(operation, path);
    if (code !== undefined) throw new DiskError(code, operation, path);
    return action();
  }
}

function copySector(inode: Inode, target: Buffer, sector: number): void {
  inode.current.copy(target, sector * sectorBytes, sector * sectorBytes, (sector + 1) * sectorBytes);
}
