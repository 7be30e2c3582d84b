/**
 * Feeds the ledger's second copy, over one connection:
 *
 * 1. The copy says how its log ends. If the leader has the same entry there (index and term), the logs are equal up to it.
 * 2. Otherwise, or if what follows was removed here, the copy's log and state are replaced by the leader's state of one moment. A leader
 *    that is only starting has none yet: the copy waits for it, connected, because its leave to serve may be what the start waits for.
 * 3. What follows is read from the log and sent, until nothing is left; from then on each entry is sent while it is still on
 *    its way to the own disk.
 */
import { BrineError } from "../../errors/brine-error.ts";
import type { BackupRow } from "../../wire/catalogue/admin.ts";
import { appendEntries, attachCopy, entriesBytesMax, entriesMax, replaceState } from "../../wire/catalogue/ledger.ts";
import type { Peer } from "../../wire/peer.ts";
import type { FileLedger } from "../file/file-ledger.ts";
import type { LedgerEntry } from "../ledger.ts";
import type { CopyTimeouts } from "./copy-timeouts.ts";

/** The leader's state, page by page; `index`: of the last entry in it. */
export interface StateSource {
  read(page: { backup: number; after: Uint8Array }): Promise<{
    readonly backup: number;
    readonly index: number;
    readonly rows: readonly BackupRow[];
    readonly done: boolean;
  }>;
}

export interface CopyFeedOptions {
  readonly peer: Peer;
  readonly file: FileLedger;
  readonly term: number;
  readonly timeouts: CopyTimeouts;
  /** Undefined while the leader is only starting. */
  readonly source: () => StateSource | undefined;
  /** Before anything is sent: the copy's last entry, undefined if it isn't one of the leader's. */
  readonly onAttached: (lastIndex: number | undefined) => Promise<void>;
  /** The entry that is on its way to the own disk. */
  readonly current: () => LedgerEntry | undefined;
  /** Something was acknowledged, or the copy has all there is. */
  readonly onProgress: () => void;
}

export type FeedState = "attaching" | "replacing" | "following";

export class CopyFeed {
  readonly #options: CopyFeedOptions;
  #state: FeedState = "attaching";
  #acked = 0;
  /** While the state is replaced: entries from here on are needed. */
  #heldIndex = 0;
  #wake: (() => void) | undefined;

  constructor(options: CopyFeedOptions) {
    this.#options = options;
  }

  get state(): FeedState {
    return this.#state;
  }

  /** Index of the last entry on the copy's disk. */
  get acked(): number {
    return this.#acked;
  }

  /** Entries from here on must not be removed. */
  get neededIndex(): number {
    return this.#state === "following" ? this.#acked : this.#heldIndex;
  }

  /** There is something to send, or the state can be read now. */
  poke(): void {
    this.#wake?.();
  }

  /** Ends with the connection. Errors: what went wrong. */
  async run(): Promise<void> {
    const { peer, term, timeouts } = this.#options;
    peer.onClose(() => this.poke());
    const { body: end } = await peer.request(attachCopy, { term }, { timeoutMs: timeouts.silenceMs });
    const matches = await endMatches(this.#options.file, end);
    await this.#options.onAttached(matches ? end.lastIndex : undefined);
    this.#acked = matches ? end.lastIndex : await this.#replace();
    this.#state = "following";
    while (!peer.closed) {
      const entries = await this.#next();
      if (entries.length === 0) {
        this.#options.onProgress();
        if (this.#hasMore()) continue;
        await new Promise<void>((resolve) => (this.#wake = resolve));
        continue;
      }
      await peer.request(appendEntries, { term, entries }, { timeoutMs: timeouts.silenceMs });
      this.#acked = entries.at(-1)!.index;
      this.#options.onProgress();
    }
  }

  #hasMore(): boolean {
    const { peer, file, current } = this.#options;
    return peer.closed || file.lastIndex > this.#acked || (current()?.index ?? 0) > this.#acked;
  }

  /** The next entries to send; none if the copy has all. */
  async #next(): Promise<LedgerEntry[]> {
    const current = this.#options.current();
    if (current?.index === this.#acked + 1) return [current];
    const entries: LedgerEntry[] = [];
    if (this.#options.file.lastIndex === this.#acked) return entries;
    let bytes = 0;
    for await (const entry of this.#options.file.read(this.#acked + 1)) {
      bytes += entry.batch.byteLength;
      if (entries.length === entriesMax || (entries.length > 0 && bytes > entriesBytesMax)) break;
      entries.push(entry);
    }
    return entries;
  }

  /** Errors: closed (the connection ended before there was one). */
  async #sourceInTheEnd(): Promise<StateSource> {
    for (;;) {
      const source = this.#options.source();
      if (source !== undefined) return source;
      if (this.#options.peer.closed)
        throw new BrineError("closed", "the connection ended while the leader was starting");
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** The index that the copy's log then ends with. */
  async #replace(): Promise<number> {
    const { peer, term, timeouts, file } = this.#options;
    const source = await this.#sourceInTheEnd();
    this.#state = "replacing";
    this.#heldIndex = Math.max(1, file.lastIndex);
    let last: LedgerEntry | undefined;
    for (let [backup, after, first] = [0, Buffer.alloc(0) as Uint8Array, true]; ; first = false) {
      const page = await source.read({ backup, after });
      // No entry yet: the copy begins as the leader did.
      if (first && page.index > 0) last = await entryAt(file, page.index);
      const body = { term, first, rows: [...page.rows], done: page.done, last: page.done ? last : undefined };
      await peer.request(replaceState, body, { timeoutMs: timeouts.replaceMs });
      if (page.done) return page.index;
      backup = page.backup;
      after = page.rows.at(-1)!.key;
    }
  }
}

/**
 * Up to which entry the leader may remove what it doesn't need itself. `isRequired`: the copy counts as in step. While that one is
 * away it goes on where it ended. Without that entry it could only be replaced, and would be nothing until it is, though it is all
 * there is should the leader's disk be lost meanwhile.
 */
export function removableBelow(index: number, feed: CopyFeed | undefined, isRequired: boolean): number {
  if (feed !== undefined) return Math.min(index, feed.neededIndex);
  return isRequired ? 0 : index;
}

/** True if the own log has the entry with which another one ends. */
export async function endMatches(
  file: FileLedger,
  { lastIndex, lastTerm }: { lastIndex: number; lastTerm: number },
): Promise<boolean> {
  if (lastIndex === 0) return file.firstIndex === 1;
  if (lastIndex > file.lastIndex || lastIndex < file.firstIndex) return false;
  return (await entryAt(file, lastIndex)).term === lastTerm;
}

export async function entryAt(file: FileLedger, index: number): Promise<LedgerEntry> {
  for await (const entry of file.read(index)) return entry;
  throw new BrineError("notFound", `the ledger has no entry ${index}`);
}
