/**
 * A file on a simulated disk: what readers see (`live`), what a loss of power leaves (`durable`), and the changes between
 * them, in order. A loss of power treats each change on its own: it is there, or not, or some of its 512-byte sectors
 * are: disks promise no more, and no order, between two syncs.
 */
import type { SimulatedRandom } from "./simulated-random.ts";
import { SparseBytes } from "./sparse-bytes.ts";

/** What a disk writes whole or not at all. */
const sectorBytes = 512;
const pageBytes = 4096;

type Change =
  | { readonly kind: "write"; readonly position: number; readonly bytes: Uint8Array }
  | { readonly kind: "zero"; readonly position: number; readonly length: number }
  | { readonly kind: "extend"; readonly sizeBytes: number };

export class StoredFile {
  readonly #live = new SparseBytes();
  #liveBytes = 0;
  readonly #durable = new SparseBytes();
  #durableBytes = 0;
  readonly #unsynced: Change[] = [];
  /** Changes that have been made durable; `#unsynced[0]` has this number. */
  #synced = 0;
  /** One flag for each page that takes space. */
  #pages = new Uint8Array(64);
  #pageCount = 0;
  /** Offsets of sectors that the disk can't read, until they are written anew or given back. */
  readonly #badSectors = new Set<number>();

  get sizeBytes(): number {
    return this.#liveBytes;
  }

  get usedBytes(): number {
    return this.#pageCount * pageBytes;
  }

  /** Number of the next change: what `sync` takes. */
  get changeNumber(): number {
    return this.#synced + this.#unsynced.length;
  }

  /** Space that a write or an allocation would take in addition, in bytes. */
  neededBytes(position: number, length: number): number {
    let pages = 0;
    for (let page = Math.floor(position / pageBytes); page * pageBytes < position + length; page++) {
      if (!this.#pages[page]) pages += 1;
    }
    return pages * pageBytes;
  }

  read(buffer: Uint8Array, position: number): number {
    const count = Math.max(0, Math.min(buffer.byteLength, this.#liveBytes - position));
    this.#live.read(buffer.subarray(0, count), position);
    return count;
  }

  /** True if the disk can read all of these bytes. */
  isReadable(position: number, length: number): boolean {
    for (const sector of this.#badSectors) {
      if (sector < position + length && sector + sectorBytes > position) return false;
    }
    return true;
  }

  /** `bytes` belongs to the file from here on. */
  write(position: number, bytes: Uint8Array): void {
    this.#remap(position, bytes.byteLength);
    this.#take(position, bytes.byteLength, 1);
    this.#live.write(position, bytes);
    this.#liveBytes = Math.max(this.#liveBytes, position + bytes.byteLength);
    this.#unsynced.push({ kind: "write", position, bytes });
  }

  allocate(position: number, length: number): void {
    this.#take(position, length, 1);
    this.#liveBytes = Math.max(this.#liveBytes, position + length);
    this.#unsynced.push({ kind: "extend", sizeBytes: position + length });
  }

  punch(position: number, length: number): void {
    this.#remap(position, length);
    const first = Math.ceil(position / pageBytes);
    const last = Math.floor((position + length) / pageBytes);
    if (last > first) this.#take(first * pageBytes, (last - first) * pageBytes, 0);
    this.#live.zero(position, length);
    this.#unsynced.push({ kind: "zero", position, length });
  }

  /** Replaces everything, durably: what an atomic rename of a synced file does. */
  replace(content: Uint8Array): void {
    this.#badSectors.clear();
    for (const bytes of [this.#live, this.#durable]) {
      bytes.zero(0, Math.max(this.#liveBytes, this.#durableBytes));
      bytes.write(0, content);
    }
    this.#liveBytes = this.#durableBytes = content.byteLength;
    this.#synced = this.changeNumber;
    this.#unsynced.length = 0;
    this.#pages.fill(0);
    this.#pageCount = 0;
    this.#take(0, content.byteLength, 1);
  }

  /** Makes all changes with a number below `changeNumber` durable. */
  sync(changeNumber: number): void {
    const count = changeNumber - this.#synced;
    if (count <= 0) return;
    for (const change of this.#unsynced.splice(0, count)) this.#makeDurable(change, undefined);
    this.#synced = changeNumber;
  }

  /**
   * The sync of all changes with a number below `changeNumber` failed: the disk has any part of them, and because the
   * kernel takes their pages for clean afterwards, no later sync writes the rest.
   */
  failSync(changeNumber: number, random: SimulatedRandom): void {
    const count = changeNumber - this.#synced;
    if (count <= 0) return;
    this.#synced = changeNumber;
    for (const change of this.#unsynced.splice(0, count)) {
      const fate = random.pick(["dropped", "kept", "torn"]);
      if (fate !== "dropped") this.#makeDurable(change, fate === "torn" ? random : undefined);
    }
  }

  /** The power was lost. */
  losePower(random: SimulatedRandom): void {
    this.failSync(this.changeNumber, random);
    this.#live.becomeCopyOf(this.#durable);
    this.#liveBytes = this.#durableBytes;
  }

  /** Flips bits of a byte, on the disk as well as in the cache. */
  rot(position: number, bits: number): void {
    this.#live.flip(position, bits);
    this.#durable.flip(position, bits);
  }

  /** One sector that lies within these bytes can't be read any more. `length`: at least two sectors. */
  spoil(position: number, length: number, random: SimulatedRandom): void {
    const first = Math.ceil(position / sectorBytes);
    const below = Math.floor((position + length) / sectorBytes);
    this.#badSectors.add((first + random.below(below - first)) * sectorBytes);
  }

  /** Sectors that are written anew get another place on the disk. */
  #remap(position: number, length: number): void {
    for (const sector of this.#badSectors) {
      if (sector >= position && sector + sectorBytes <= position + length) this.#badSectors.delete(sector);
    }
  }

  /** The whole change, or with `torn` some sectors of it. */
  #makeDurable(change: Change, torn: SimulatedRandom | undefined): void {
    if (change.kind === "extend") {
      this.#durableBytes = Math.max(this.#durableBytes, change.sizeBytes);
      return;
    }
    const length = change.kind === "write" ? change.bytes.byteLength : change.length;
    const end = change.position + length;
    if (change.kind === "write") this.#durableBytes = Math.max(this.#durableBytes, end);
    if (torn === undefined) {
      this.#apply(change, change.position, end);
      return;
    }
    const first = Math.floor(change.position / sectorBytes) * sectorBytes;
    for (let sector = first; sector < end; sector += sectorBytes) {
      if (torn.chance(0.5)) {
        this.#apply(change, Math.max(sector, change.position), Math.min(sector + sectorBytes, end));
      }
    }
  }

  #apply(change: Exclude<Change, { kind: "extend" }>, from: number, to: number): void {
    if (change.kind === "zero") this.#durable.zero(from, to - from);
    else this.#durable.write(from, change.bytes.subarray(from - change.position, to - change.position));
  }

  #take(position: number, length: number, flag: 0 | 1): void {
    const end = Math.ceil((position + length) / pageBytes);
    if (end > this.#pages.length) {
      const longer = new Uint8Array(Math.max(end, 2 * this.#pages.length));
      longer.set(this.#pages);
      this.#pages = longer;
    }
    for (let page = Math.floor(position / pageBytes); page < end; page++) {
      if (this.#pages[page] === flag) continue;
      this.#pages[page] = flag;
      this.#pageCount += flag === 1 ? 1 : -1;
    }
  }
}
