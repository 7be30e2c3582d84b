/**
 * The ledger: the ordered, durable log of transactions. One leader appends, fenced by its term; every metadata server
 * follows. Engines: file/ (a segment log on the local disk). Others implement this interface and nothing else.
 */

/** One committed entry: the transactions of a batch, encoded, at an index that has no gap to the one before. */
export interface LedgerEntry {
  /** 1 for the first entry ever. */
  readonly index: number;
  /** Term of the leader that appended it; never falls. */
  readonly term: number;
  readonly batch: Uint8Array;
}

export interface Ledger {
  /** Term under which this process appends; committed before `open` of the engine returned. */
  readonly term: number;
  /** False while another process may lead: then nothing is answered, reads neither. */
  readonly serving: boolean;
  /** For people, while an append is under way: whose answer is missing, `the ledger's disk` or that of a copy. */
  readonly waitsFor: string;
  /** Index of the last committed entry; 0 if there is none. */
  readonly lastIndex: number;
  /**
   * Appends a batch (≤ 1 MiB) and resolves with its index when it is durable. One append at a time: the caller batches.
   * Errors: diskFailed (the ledger is closed from then on: a failed sync is never retried), noSpace (try again later),
   * notLeader (another process leads).
   */
  append(batch: Uint8Array): Promise<number>;
  /** Committed entries from `from` on up to the present last one, in order. */
  read(from: number): AsyncIterable<LedgerEntry>;
  /** Entries below `index` are in every member's durable state: they may be removed. */
  truncate(index: number): Promise<void>;
  /** Makes sure that it is where it was opened. Errors: diskFailed (the ledger is closed from then on). */
  check(): Promise<void>;
  close(): Promise<void>;
}
