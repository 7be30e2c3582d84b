/**
 * The store's disk, with an eye on the clock: for how long the oldest operation on its files has had no answer, and how long
 * they take on the average. A disk may hang for half a minute (a bus that is reset, a controller, a host that is busy), without
 * any error; or become slow for good.
 */
import type { Clock } from "../platform/clock.ts";
import type { Disk, DiskFile, OpenOptions } from "../platform/disk.ts";

/** A healthy disk takes milliseconds, one that is very busy some hundred. */
const stalledMs = 2_000;
/** After this time an operation counts half in the average: long enough for a burst to pass, short enough to see a disk recover. */
const halfLifeMs = 2_000;
/** With less weight than this nothing has been done for some 15 s: what the disk was like then says nothing. */
const weightMin = 0.005;

export class WatchedDisk implements Disk {
  readonly #disk: Disk;
  readonly #clock: Clock;
  /** Operations without an answer, in the order in which they began, and when. */
  readonly #pending = new Map<number, number>();
  #begun = 0;
  /** Of the operations that were answered, each with a weight that halves with time. */
  #weight = 0;
  #weightedMs = 0;
  #agedMs = 0;

  constructor(disk: Disk, clock: Clock) {
    this.#disk = disk;
    this.#clock = clock;
  }

  /** What is wrong; undefined while the disk answers. */
  get stall(): string | undefined {
    const oldest = this.#pending.values().next();
    if (oldest.done === true) return undefined;
    const forMs = this.#clock.nowMs() - oldest.value;
    return forMs < stalledMs ? undefined : `no answer for ${(forMs / 1000).toFixed(1)} s`;
  }

  /** Moving average; undefined if nothing was done lately. An operation that takes longer than that counts before it ends. */
  get latencyMs(): number | undefined {
    this.#age();
    const average = this.#weight < weightMin ? undefined : this.#weightedMs / this.#weight;
    const oldest = this.#pending.values().next();
    if (oldest.done === true) return average;
    return Math.max(average ?? 0, this.#clock.nowMs() - oldest.value);
  }

  async open(path: string, options?: OpenOptions): Promise<DiskFile> {
    const file = await this.#disk.open(path, options);
    const watch = <T>(operation: Promise<T>) => this.#watch(operation);
    return {
      read: (buffer, position) => watch(file.read(buffer, position)),
      write: (buffers, position) => watch(file.write(buffers, position)),
      syncData: () => watch(file.syncData()),
      allocate: (position, length) => file.allocate(position, length),
      punch: (position, length) => file.punch(position, length),
      forget: (position, length) => file.forget(position, length),
      size: () => file.size(),
      allocatedBytes: () => file.allocatedBytes(),
      isInPlace: () => watch(file.isInPlace()),
      close: () => file.close(),
    };
  }

  makeDirectory(path: string): Promise<void> {
    return this.#disk.makeDirectory(path);
  }

  list(path: string): Promise<string[]> {
    return this.#disk.list(path);
  }

  remove(path: string): Promise<void> {
    return this.#disk.remove(path);
  }

  syncDirectory(path: string): Promise<void> {
    return this.#disk.syncDirectory(path);
  }

  readFile(path: string): Promise<Uint8Array | undefined> {
    return this.#watch(this.#disk.readFile(path));
  }

  writeFile(path: string, content: Uint8Array): Promise<void> {
    return this.#watch(this.#disk.writeFile(path, content));
  }

  space(path: string): Promise<{ totalBytes: number; freeBytes: number }> {
    return this.#disk.space(path);
  }

  lockDirectory(path: string): Promise<{ release(): void }> {
    return this.#disk.lockDirectory(path);
  }

  #watch<T>(operation: Promise<T>): Promise<T> {
    const number = this.#begun++;
    const begunMs = this.#clock.nowMs();
    this.#pending.set(number, begunMs);
    return operation.finally(() => {
      this.#pending.delete(number);
      this.#age();
      this.#weight += 1;
      this.#weightedMs += this.#clock.nowMs() - begunMs;
    });
  }

  #age(): void {
    const nowMs = this.#clock.nowMs();
    const factor = 0.5 ** ((nowMs - this.#agedMs) / halfLifeMs);
    this.#agedMs = nowMs;
    this.#weight *= factor;
    this.#weightedMs *= factor;
  }
}
