/**
 * An ordered map of byte keys that lives on one disk: SQLite in production, memory in the simulation.
 *
 * Changes are seen by reads at once and reach the disk with `commit`, all of them or none (atomic). A commit is not
 * yet durable: it survives the death of the process, but a power loss may fall back to an earlier commit, never older
 * than the last `checkpoint`. Keys are compared as unsigned bytes; keys are ≤ 1 KiB, values ≤ 1 MiB.
 * Calls other than `checkpoint` are synchronous and bounded (a point read, a scan of ≤ 1,000 rows).
 */
export interface KeyValue {
  get(key: Uint8Array): Uint8Array | undefined;
  put(key: Uint8Array, value: Uint8Array): void;
  delete(key: Uint8Array): void;
  /** Entries with from ≤ key < to, in order (descending with `reverse`), at most `limit` (≤ 1,000). */
  scan(from: Uint8Array, to: Uint8Array, limit: number, reverse?: boolean): KeyValueEntry[];
  /** Number of changes since the last commit: the owner commits before it grows large. */
  readonly uncommittedCount: number;
  commit(): void;
  /** Makes everything committed before the call durable. One at a time. */
  checkpoint(): Promise<void>;
  /** Commits, checkpoints and closes. */
  close(): Promise<void>;
}

export type KeyValueEntry = readonly [key: Uint8Array, value: Uint8Array];

export interface KeyValueEngine {
  /** Opens or creates the database file at `path`. Errors: DiskError; EBADF-like corruption is DiskError EUCLEAN. */
  open(path: string): Promise<KeyValue>;
  /**
   * Makes the database at `path`, which must not be there, a copy of an open one: of everything committed before some moment
   * between call and end. The source is used meanwhile, but not closed. Errors: DiskError.
   */
  copy(source: KeyValue, path: string): Promise<void>;
  /** Removes the database at `path`, which nobody has open; no error if it is missing. Errors: DiskError. */
  remove(path: string): Promise<void>;
}
