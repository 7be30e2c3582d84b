/**
 * The KeyValue on SQLite in WAL mode.
 *
 * Changes since the last commit stand in memory, in order, in front of the table (`#changes`): reads merge both, and
 * `commit` writes them in one SQLite transaction. So what is put and deleted between two commits never reaches SQLite,
 * and a key that changes many times is written once.
 *
 * A commit goes to the WAL without a sync. `checkpoint` runs in a worker with a connection of its own, because it syncs:
 * it syncs the WAL, copies it into the database file and syncs that.
 */
import { dirname } from "node:path";
import Database from "better-sqlite3";
import { DiskError } from "./disk.ts";
import type { KeyValue, KeyValueEngine, KeyValueEntry } from "./key-value.ts";
import { keyBytes, keyString } from "./memory-key-value.ts";
import { OrderedMap } from "./ordered-map.ts";
import { realDisk } from "./real-disk.ts";
import { Checkpointer } from "./sqlite-checkpointer.ts";

/** The last step of a checkpoint locks out writers for some milliseconds: a commit waits that long, and far longer. */
const busyTimeoutMs = 10_000;
/** Bounds of the contract (key-value.ts). */
const keyBytesMax = 1024;
const valueBytesMax = 1024 * 1024;
/** Page cache, KiB: index and upper pages of a few million rows. */
const cacheKib = 32 * 1024;
/** Pages (4 KiB) that a copy takes in one turn of the event loop: a millisecond or two. */
const copyPages = 256;

export const sqliteEngine: KeyValueEngine = {
  async open(path) {
    await realDisk.makeDirectory(dirname(path));
    const keyValue = guarded("open", path, () => new SqliteKeyValue(path));
    await realDisk.syncDirectory(dirname(path));
    return keyValue;
  },

  async copy(source, path) {
    if (!(source instanceof SqliteKeyValue)) throw new TypeError("the source is another engine's");
    await source.copyTo(path);
  },

  async remove(path) {
    for (const suffix of ["", "-wal", "-shm"]) await realDisk.remove(`${path}${suffix}`);
    await realDisk.syncDirectory(dirname(path));
  },
};

class SqliteKeyValue implements KeyValue {
  readonly #path: string;
  readonly #database: Database.Database;
  readonly #checkpointer: Checkpointer;
  readonly #select: Database.Statement;
  readonly #scanUp: Database.Statement;
  readonly #scanDown: Database.Statement;
  readonly #write: (changes: OrderedMap<Uint8Array | undefined>) => void;
  /** Uncommitted: the new value, or undefined for a deleted key. */
  readonly #changes = new OrderedMap<Uint8Array | undefined>();

  constructor(path: string) {
    this.#path = path;
    const database = new Database(path, { timeout: busyTimeoutMs });
    this.#database = database;
    try {
      database.pragma("journal_mode = WAL");
      database.pragma("synchronous = NORMAL");
      database.pragma("wal_autocheckpoint = 0");
      database.pragma(`cache_size = -${cacheKib}`);
      database.exec("CREATE TABLE IF NOT EXISTS kv (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID");
      this.#select = database.prepare("SELECT value FROM kv WHERE key = ?").pluck();
      const range = "SELECT key, value FROM kv WHERE key >= ? AND key < ? ORDER BY key";
      this.#scanUp = database.prepare(`${range} LIMIT ?`).raw();
      this.#scanDown = database.prepare(`${range} DESC LIMIT ?`).raw();
      const upsert = database.prepare("INSERT OR REPLACE INTO kv (key, value) VALUES (?, ?)");
      const remove = database.prepare("DELETE FROM kv WHERE key = ?");
      this.#write = database.transaction((changes: OrderedMap<Uint8Array | undefined>) => {
        for (const key of changes.keysUp("", afterAllKeys)) {
          const value = changes.get(key);
          if (value === undefined) remove.run(keyBytes(key));
          else upsert.run(keyBytes(key), value);
        }
      });
    } catch (error) {
      database.close();
      throw error;
    }
    this.#checkpointer = new Checkpointer(path);
  }

  get(key: Uint8Array): Uint8Array | undefined {
    if (this.#changes.size > 0) {
      const name = keyString(key);
      const changed = this.#changes.get(name);
      if (changed !== undefined || this.#changes.has(name)) return changed;
    }
    return this.#stored(key);
  }

  put(key: Uint8Array, value: Uint8Array): void {
    if (key.byteLength > keyBytesMax) throw new RangeError(`key of ${key.byteLength} bytes`);
    if (value.byteLength > valueBytesMax) throw new RangeError(`value of ${value.byteLength} bytes`);
    this.#changes.set(keyString(key), Buffer.from(value));
  }

  delete(key: Uint8Array): void {
    const name = keyString(key);
    // A key that was born since the last commit vanishes without a trace; else its row has to go at the next commit.
    if (this.#changes.get(name) !== undefined && this.#stored(key) === undefined) this.#changes.delete(name);
    else this.#changes.set(name, undefined);
  }

  scan(from: Uint8Array, to: Uint8Array, limit: number, reverse = false): KeyValueEntry[] {
    const [low, high] = [keyString(from), keyString(to)];
    const changed = reverse ? this.#changes.keysDown(low, high) : this.#changes.keysUp(low, high);
    const entries: KeyValueEntry[] = [];
    let nextChanged = changed.next();
    let [storedFrom, storedTo] = [from, to];
    while (entries.length < limit) {
      const wanted = limit - entries.length;
      const stored = this.#storedRange(storedFrom, storedTo, wanted, reverse);
      for (const row of stored) {
        const key = keyString(row[0]);
        // Changed keys that come before this row, then the row unless it was changed itself.
        while (nextChanged.done !== true && (reverse ? nextChanged.value > key : nextChanged.value < key)) {
          this.#pushChanged(entries, nextChanged.value);
          nextChanged = changed.next();
        }
        if (nextChanged.done !== true && nextChanged.value === key) {
          this.#pushChanged(entries, key);
          nextChanged = changed.next();
        } else entries.push(row);
        if (entries.length >= limit) break;
      }
      if (stored.length < wanted) break; // the table has no more
      // Rows were deleted since the last commit: go on behind the last one seen.
      const last = stored.at(-1)![0];
      if (reverse) storedTo = last;
      else storedFrom = Buffer.concat([last, Buffer.of(0)]);
    }
    for (; nextChanged.done !== true && entries.length < limit; nextChanged = changed.next()) {
      this.#pushChanged(entries, nextChanged.value);
    }
    if (entries.length > limit) entries.length = limit;
    return entries;
  }

  get uncommittedCount(): number {
    return this.#changes.size;
  }

  commit(): void {
    if (this.#changes.size === 0) return;
    guarded("commit", this.#path, () => this.#write(this.#changes));
    this.#changes.clear();
  }

  checkpoint(): Promise<void> {
    return this.#checkpointer.checkpoint();
  }

  /**
   * SQLite's online backup on the connection that writes: between its steps it holds no lock, so checkpoints go on, and what
   * is committed meanwhile goes to the copy too.
   */
  async copyTo(path: string): Promise<void> {
    try {
      await this.#database.backup(path, { progress: () => copyPages });
    } catch (error) {
      throw sqliteError("copy", path, error);
    }
  }

  async close(): Promise<void> {
    this.commit();
    try {
      await this.#checkpointer.close();
    } finally {
      this.#database.close();
    }
  }

  #pushChanged(entries: KeyValueEntry[], key: string): void {
    const value = this.#changes.get(key);
    if (value !== undefined) entries.push([keyBytes(key), value]);
  }

  #stored(key: Uint8Array): Uint8Array | undefined {
    return guarded("read", this.#path, () => this.#select.get(key) as Uint8Array | undefined);
  }

  #storedRange(from: Uint8Array, to: Uint8Array, limit: number, reverse: boolean): [Buffer, Buffer][] {
    const statement = reverse ? this.#scanDown : this.#scanUp;
    return guarded("scan", this.#path, () => statement.all(from, to, limit) as [Buffer, Buffer][]);
  }
}

/** Above every key of a table: one byte longer than the longest. */
const afterAllKeys = "\xff".repeat(keyBytesMax + 1);

/** The action's value, or SQLite's error as a DiskError. */
function guarded<T>(operation: string, path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw sqliteError(operation, path, error);
  }
}

/** SQLite's result codes (sqlite.org/rescode.html) as errno names. */
export function sqliteError(operation: string, path: string, error: unknown): unknown {
  const code = (error as { code?: unknown }).code;
  if (typeof code !== "string") return error;
  if (!code.startsWith("SQLITE_")) return new DiskError(code, operation, path, error);
  if (code.startsWith("SQLITE_CORRUPT") || code === "SQLITE_NOTADB")
    return new DiskError("EUCLEAN", operation, path, error);
  if (code === "SQLITE_FULL") return new DiskError("ENOSPC", operation, path, error);
  if (code.startsWith("SQLITE_READONLY") || code === "SQLITE_PERM")
    return new DiskError("EACCES", operation, path, error);
  if (code.startsWith("SQLITE_CANTOPEN")) return new DiskError("ENOENT", operation, path, error);
  if (code.startsWith("SQLITE_BUSY")) return new DiskError("EBUSY", operation, path, error);
  return new DiskError("EIO", operation, path, error);
}
