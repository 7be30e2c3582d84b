/**
 * Databases of a host: the memory twin with the time that opening and checkpoints take. The death of a process takes back
 * what was not committed; a loss of power takes back some commits too, none that a checkpoint had covered.
 */
import type { KeyValue, KeyValueEngine, KeyValueEntry } from "../platform/key-value.ts";
import { type MemoryDatabase, type MemoryKeyValue, MemoryKeyValueEngine } from "../platform/memory-key-value.ts";
import type { Incarnation } from "./incarnation.ts";
import type { SimulatedRandom } from "./simulated-random.ts";

const openUsMax = 2_000;
/** A checkpoint copies and syncs: now and then it takes far longer than a sync. */
const checkpointUsMax = 20_000;

/** All databases of a host, over all incarnations. */
export class HostDatabases {
  readonly #engine = new MemoryKeyValueEngine();
  readonly #databases = new Map<string, MemoryDatabase>();

  database(path: string): MemoryDatabase {
    const database = this.#engine.database(path);
    this.#databases.set(path, database);
    return database;
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
  readonly #random: SimulatedRandom;

  constructor(incarnation: Incarnation, databases: HostDatabases, random: SimulatedRandom) {
    this.#incarnation = incarnation;
    this.#databases = databases;
    this.#random = random;
    incarnation.onDeath(() => databases.processDied());
  }

  async open(path: string): Promise<KeyValue> {
    await this.#incarnation.delay(this.#random.below(openUsMax), "database open");
    const database = this.#databases.database(path);
    return new SimulatedKeyValue(this.#incarnation, database, database.open(), this.#random);
  }
}

class SimulatedKeyValue implements KeyValue {
  readonly #incarnation: Incarnation;
  readonly #database: MemoryDatabase;
  readonly #memory: MemoryKeyValue;
  readonly #random: SimulatedRandom;
  #checkpointing = false;

  constructor(incarnation: Incarnation, database: MemoryDatabase, memory: MemoryKeyValue, random: SimulatedRandom) {
    this.#incarnation = incarnation;
    this.#database = database;
    this.#memory = memory;
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
    this.#memory.commit();
  }

  async checkpoint(): Promise<void> {
    if (this.#checkpointing) throw new Error("one checkpoint at a time");
    this.#checkpointing = true;
    const covered = this.#database.volatileCommits;
    await this.#incarnation.delay(this.#random.below(checkpointUsMax), "database checkpoint");
    this.#checkpointing = false;
    this.#database.checkpoint(covered);
  }

  async close(): Promise<void> {
    this.#memory.commit();
    await this.#incarnation.delay(this.#random.below(checkpointUsMax), "database close");
    await this.#memory.close();
  }
}
