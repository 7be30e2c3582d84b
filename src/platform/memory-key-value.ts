/**
 * The KeyValue in memory, for simulations and unit tests: what `MemoryDatabase` holds is "the disk", a MemoryKeyValue is
 * the process that has it open. `crash` takes back what a death of the process or a loss of power would take back.
 * Faults and delays are the simulation's business.
 */
import { DiskError } from "./disk.ts";
import type { KeyValue, KeyValueEngine, KeyValueEntry } from "./key-value.ts";
import { OrderedMap } from "./ordered-map.ts";

/** Bounds of the contract (key-value.ts). */
const keyBytesMax = 1024;
const scanRowsMax = 1000;

/** What changed keys were before; undefined: not there. */
type Undo = Map<string, Uint8Array | undefined>;

export class MemoryKeyValueEngine implements KeyValueEngine {
  readonly #databases = new Map<string, MemoryDatabase>();

  /** The database file at `path`, made empty if it is not there. */
  database(path: string): MemoryDatabase {
    let database = this.#databases.get(path);
    if (database === undefined) {
      database = new MemoryDatabase(path);
      this.#databases.set(path, database);
    }
    return database;
  }

  async open(path: string): Promise<KeyValue> {
    return this.database(path).open();
  }

  async copy(source: KeyValue, path: string): Promise<void> {
    const copy = this.database(path).open();
    const end = Buffer.alloc(keyBytesMax + 1, 0xff);
    let from: Uint8Array = new Uint8Array(0);
    for (;;) {
      const rows = source.scan(from, end, scanRowsMax);
      for (const [key, value] of rows) copy.put(key, value);
      if (rows.length < scanRowsMax) break;
      from = Buffer.concat([rows.at(-1)![0], Buffer.of(0)]);
    }
    await copy.close();
  }

  async remove(path: string): Promise<void> {
    this.#databases.delete(path);
  }
}

export class MemoryDatabase {
  readonly path: string;
  readonly rows = new OrderedMap<Uint8Array>();
  /** Of each commit since the last checkpoint, oldest first. */
  readonly #undoOfCommits: Undo[] = [];
  #undo: Undo = new Map();
  #opened: MemoryKeyValue | undefined;
  /** Its bytes make no sense any more: it can't be opened until it was removed. */
  damaged = false;

  constructor(path: string) {
    this.path = path;
  }

  open(): MemoryKeyValue {
    if (this.damaged) throw new DiskError("EUCLEAN", "open", this.path);
    if (this.#opened !== undefined) throw new DiskError("EBUSY", "open", this.path);
    this.#opened = new MemoryKeyValue(this);
    return this.#opened;
  }

  /** Commits that a loss of power may take back. */
  get volatileCommits(): number {
    return this.#undoOfCommits.length;
  }

  /**
   * The process died: uncommitted changes are gone, and the newest `lostCommits` commits too (a loss of power; at most
   * `volatileCommits`). The open KeyValue works no more; the database can be opened again.
   */
  crash(lostCommits: number): void {
    if (lostCommits > this.#undoOfCommits.length) throw new RangeError("a checkpoint cannot be lost");
    this.#opened?.kill();
    this.#opened = undefined;
    this.#takeBack(this.#undo);
    this.#undo = new Map();
    for (const undo of this.#undoOfCommits.splice(this.#undoOfCommits.length - lostCommits).reverse()) {
      this.#takeBack(undo);
    }
  }

  /** All rows, as they are now, by key (one character a byte). */
  snapshot(): Map<string, Uint8Array> {
    return new Map(this.rows.entries());
  }

  get uncommittedCount(): number {
    return this.#undo.size;
  }

  change(key: string, value: Uint8Array | undefined): void {
    if (!this.#undo.has(key)) this.#undo.set(key, this.rows.get(key));
    if (value === undefined) this.rows.delete(key);
    else this.rows.set(key, value);
  }

  commit(): void {
    if (this.#undo.size === 0) return;
    this.#undoOfCommits.push(this.#undo);
    this.#undo = new Map();
  }

  /** Makes the oldest `commits` of the volatile commits durable: all, unless it is said. */
  checkpoint(commits = this.#undoOfCommits.length): void {
    this.#undoOfCommits.splice(0, commits);
  }

  close(): void {
    this.commit();
    this.checkpoint();
    this.#opened = undefined;
  }

  #takeBack(undo: Undo): void {
    for (const [key, before] of undo) {
      if (before === undefined) this.rows.delete(key);
      else this.rows.set(key, before);
    }
  }
}

export class MemoryKeyValue implements KeyValue {
  #database: MemoryDatabase | undefined;
  readonly #path: string;

  constructor(database: MemoryDatabase) {
    this.#database = database;
    this.#path = database.path;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#alive().rows.get(keyString(key));
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#alive().change(keyString(key), Buffer.from(value));
  }

  delete(key: Uint8Array): void {
    const database = this.#alive();
    const name = keyString(key);
    if (database.rows.has(name)) database.change(name, undefined);
  }

  scan(from: Uint8Array, to: Uint8Array, limit: number, reverse = false): KeyValueEntry[] {
    const rows = this.#alive().rows;
    const [low, high] = [keyString(from), keyString(to)];
    const entries: KeyValueEntry[] = [];
    if (limit <= 0) return entries;
    for (const key of reverse ? rows.keysDown(low, high) : rows.keysUp(low, high)) {
      entries.push([keyBytes(key), rows.get(key)!]);
      if (entries.length === limit) break;
    }
    return entries;
  }

  get uncommittedCount(): number {
    return this.#alive().uncommittedCount;
  }

  commit(): void {
    this.#alive().commit();
  }

  async checkpoint(): Promise<void> {
    this.#alive().checkpoint();
  }

  async close(): Promise<void> {
    this.#alive().close();
    this.#database = undefined;
  }

  /** What holds this KeyValue has crashed: nothing it still does may reach the database. */
  kill(): void {
    this.#database = undefined;
  }

  #alive(): MemoryDatabase {
    if (this.#database === undefined) throw new DiskError("EBADF", "use", this.#path);
    return this.#database;
  }
}

/** The key with one character a byte: compares as its bytes do. */
export function keyString(key: Uint8Array): string {
  const buffer = Buffer.isBuffer(key) ? key : Buffer.from(key.buffer, key.byteOffset, key.byteLength);
  return buffer.toString("latin1");
}

export function keyBytes(key: string): Buffer {
  return Buffer.from(key, "latin1");
}
