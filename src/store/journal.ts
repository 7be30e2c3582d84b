/**
 * The way of a record: append to the log, wait until it is durable, apply it to the state, answer. Records are applied in
 * the order of their appends, which is the order of the log, so what reads see is always an exact prefix of it.
 *
 * A checkpoint of the index must be true for a position at which replay can start, and that is the end of a commit of
 * the log, which may hold several records. So `onCommitApplied` is called when all records up to a position are applied:
 * before the first record of the next commit, or when nothing is waiting.
 *
 * A log without space refuses the record and goes on. Any other error of the log is the end: what reached the disk is
 * unknown, so nothing is ever acknowledged again (a sync that failed must not be retried into a success).
 */
import { encode } from "../codec/schema.ts";
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { messageOf } from "../errors/message.ts";
import type { LoggedRecord, LogPosition, SegmentLog } from "../log/segment-log.ts";
import { DiskError } from "../platform/disk.ts";
import { recordDescriptor, recordFormat, type StoreRecord } from "./record.ts";
import type { Outcome, State } from "./state.ts";

interface Entry {
  readonly record: StoreRecord;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (error: BrineError) => void;
  logged?: LoggedRecord;
  error?: unknown;
}

export type Log = Pick<SegmentLog, "append">;

export class Journal {
  readonly #log: Log;
  readonly #state: State;
  readonly #onCommitApplied: (position: LogPosition) => void;
  readonly #onFailure: (reason: string) => void;
  /** In order of append; settled ones at the front are applied at once. */
  readonly #waiting: Entry[] = [];
  #front = 0;
  #position: LogPosition;
  #failure: string | undefined;
  #onIdle: (() => void)[] = [];
  #onSettled: (() => void)[] = [];

  constructor(options: {
    log: Log;
    state: State;
    position: LogPosition;
    onCommitApplied: (position: LogPosition) => void;
    onFailure: (reason: string) => void;
  }) {
    this.#log = options.log;
    this.#state = options.state;
    this.#position = options.position;
    this.#onCommitApplied = options.onCommitApplied;
    this.#onFailure = options.onFailure;
  }

  /** Records that are not applied yet. */
  get waitingCount(): number {
    return this.#waiting.length - this.#front;
  }

  /** Where replay may start to get what is applied now; only while nothing is waiting. */
  get position(): LogPosition {
    return this.#position;
  }

  /**
   * Resolves with what became of the record once it is durable and applied. Errors: noSpace, diskFailed.
   * @param payloadChecksum see `SegmentLog.append`
   */
  append(record: StoreRecord, payload: readonly Uint8Array[] = [], payloadChecksum?: number): Promise<Outcome> {
    if (this.#failure !== undefined) return Promise.reject(diskFailed(this.#failure));
    const descriptor = encode(recordDescriptor, { format: recordFormat, record });
    return new Promise((resolve, reject) => {
      const entry: Entry = { record, resolve, reject };
      this.#waiting.push(entry);
      this.#log.append(descriptor, payload, payloadChecksum).then(
        (logged) => {
          entry.logged = logged;
          this.#settle();
        },
        (error) => {
          entry.error = error ?? new Error("append failed");
          this.#settle();
        },
      );
    });
  }

  /** Resolves when the next record has been applied or refused; at once if nothing is waiting. */
  settled(): Promise<void> {
    if (this.waitingCount === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onSettled.push(resolve));
  }

  /** Resolves when nothing is waiting. */
  idle(): Promise<void> {
    if (this.waitingCount === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #settle(): void {
    for (;;) {
      const entry = this.#waiting[this.#front];
      if (entry === undefined || (entry.logged === undefined && entry.error === undefined)) break;
      this.#takeFront();
      if (this.#failure !== undefined) entry.reject(diskFailed(this.#failure));
      else if (entry.logged === undefined) this.#refuse(entry);
      else this.#apply(entry, entry.logged);
    }
    for (const resolve of this.#onSettled.splice(0)) resolve();
    if (this.waitingCount > 0) return;
    if (this.#failure === undefined) this.#onCommitApplied(this.#position);
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }

  #takeFront(): void {
    this.#front += 1;
    if (this.#front < 1024 && this.#front < this.#waiting.length) return;
    this.#waiting.splice(0, this.#front);
    this.#front = 0;
  }

  #apply(entry: Entry, logged: LoggedRecord): void {
    const { end } = logged;
    if (end.segment !== this.#position.segment || end.offset !== this.#position.offset) {
      this.#onCommitApplied(this.#position);
      this.#position = end;
    }
    let outcome: Outcome;
    try {
      outcome = this.#state.apply(entry.record, logged);
    } catch (error) {
      // The state in memory is not what the log says any more: serving from it could lose data.
      this.#fail(`applying a ${entry.record.kind} record: ${messageOf(error)}`);
      entry.reject(diskFailed(this.#failure!));
      return;
    }
    entry.resolve(outcome);
  }

  #refuse(entry: Entry): void {
    if (isNoSpace(entry.error)) {
      entry.reject(new BrineError("noSpace", "the store's disk is full", { advice: "delete files or add stores" }));
      return;
    }
    this.#fail(entry.error instanceof Error ? entry.error.message : String(entry.error));
    entry.reject(diskFailed(this.#failure!));
  }

  #fail(reason: string): void {
    this.#failure = reason;
    this.#onFailure(reason);
  }
}

export function diskFailed(reason: string): BrineError {
  return new BrineError("diskFailed", `the store's disk has failed: ${reason}`, {
    advice: "see the server's log; replace the disk and start the server with a new data directory",
  });
}

export function isNoSpace(error: unknown): boolean {
  return (error instanceof DiskError && error.code === "ENOSPC") || hasCode(error, "noSpace");
}
