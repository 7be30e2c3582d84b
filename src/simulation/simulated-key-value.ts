/**
 * Databases of a host: the memory twin with the time that opening and checkpoints take. The death of a process takes back
 * what was not committed; a loss of power takes back some commits too, none that a checkpoint had covered.
 */
import { DiskError } from "../platform/disk.ts";
import type { KeyValue, KeyValueEngine, KeyValueEntry } from "../platform/key-value.ts";
import { type MemoryDatabase, type MemoryKeyValue, MemoryKeyValueEngine } from "../platform/memory-key-value.ts";
import type { DiskMedium } from "./disk-medium.ts";
import type { Incarnation } from "./incarnation.ts";
import type { SimulatedRandom } from "./simulated-random.ts";

const openUsMax = 2_000;
/** A checkpoint copies and syncs: now and then it takes far longer than a sync. */
const checkpointUsMax = 20_000;
/** What a commit adds to a write-ahead log, about. Databases don't count in a disk's used space otherwise. */
const writtenBytes = 64 * 1024;

/** All databases of a host, over all incarnations. */
export class HostDatabases {
  readonly #engine = new MemoryKeyValueEngine();
  readonly #databases = new Map<string, MemoryDatabase>();

  database(path: string): MemoryDatabase {
    const database = this.#engine.database(path);
    this.#databases.set(path, database);
    return database;
  }

  copy(source: KeyValue, path: string): Promise<void> {
    this.database(path);
    return this.#engine.copy(source, path);
  }

  remove(path: string): Promise<void> {
    this.#databases.delete(path);
    return this.#engine.remove(path);
  }

  removeFolder(path: string): void {
    for (const name of [...this.#databases.keys()]) if (name.startsWith(`${path}/`)) void this.remove(name);
  }

  processDied(): void {
    for (const database of this.#databases.values()) database.crash(0);
  }

  losePower(random: SimulatedRandom): void {
    for (const database of this.#databases.values()) database.crash(random.below(database.volatileCommits + 1));
  }
}

export class SimulatedKeyValueEngine implements KeyValueEngine {
  readonly #incarnation: Incarnation;
  readonly #databases: HostDatabases;
  readonly #medium: DiskMedium;
  readonly #random: SimulatedRandom;

  constructor(incarnation: Incarnation, databases: HostDatabases, medium: DiskMedium, random: SimulatedRandom) {
    this.#incarnation = incarnation;
    this.#databases = databases;
    this.#medium = medium;
    this.#random = random;
    incarnation.onDeath(() => databases.processDied());
  }

  async open(path: string): Promise<KeyValue> {
    await this.#incarnation.delay(this.#random.below(openUsMax), "database open");
    const database = this.#databases.database(path);
    return new SimulatedKeyValue(this.#incarnation, this.#medium, database, this.#random);
  }

  async copy(source: KeyValue, path: string): Promise<void> {
    await this.#incarnation.delay(this.#random.below(checkpointUsMax), "database copy");
    await this.#databases.copy(source, path);
  }

  async remove(path: string): Promise<void> {
    await this.#incarnation.delay(this.#random.below(openUsMax), "database removal");
    await this.#databases.remove(path);
  }
}

class SimulatedKeyValue implements KeyValue {
  readonly #incarnation: Incarnation;
  readonly #medium: DiskMedium;
  readonly #database: MemoryDatabase;
  readonly #memory: MemoryKeyValue;
  readonly #random: SimulatedRandom;
  #checkpointing = false;

  constructor(incarnation: Incarnation, medium: DiskMedium, database: MemoryDatabase, random: SimulatedRandom) {
    this.#incarnation = incarnation;
    this.#medium = medium;
    this.#database = database;
    this.#memory = database.open();
    this.#random = random;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#memory.get(key);
  }

  put(key: Uint8Array, value: Uint8Array): void {
    if (key.byteLength > 1024 || value.byteLength > 1024 * 1024) throw new RangeError("key or value too long");
    this.#memory.put(key, value);
  }

  delete(key: Uint8Array): void {
    this.#memory.delete(key);
  }

  scan(from: Uint8Array, to: Uint8Array, limit: number, reverse = false): KeyValueEntry[] {
    if (limit > 1_000) throw new RangeError(`a scan of ${limit} rows`);
    return this.#memory.scan(from, to, limit, reverse);
  }

  get uncommittedCount(): number {
    return this.#memory.uncommittedCount;
  }

  commit(): void {
    this.#mustHaveRoom();
    this.#memory.commit();
  }

  async checkpoint(): Promise<void> {
    if (this.#checkpointing) throw new Error("one checkpoint at a time");
    this.#mustHaveRoom();
    this.#checkpointing = true;
    const covered = this.#database.volatileCommits;
    await this.#incarnation.delay(this.#random.below(checkpointUsMax), "database checkpoint");
    this.#checkpointing = false;
    this.#database.checkpoint(covered);
  }

  async close(): Promise<void> {
    this.commit();
    await this.#incarnation.delay(this.#random.below(checkpointUsMax), "database close");
    await this.#memory.close();
  }

  /** What is not committed stays in memory. */
  #mustHaveRoom(): void {
    const { usedBytes, capacityBytes } = this.#medium;
    if (this.#memory.uncommittedCount > 0 && usedBytes + writtenBytes > capacityBytes) {
      throw new DiskError("ENOSPC", "commit", this.#database.path);
    }
  }
}
