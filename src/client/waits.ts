/**
 * Operations under way: each has a name, an inode, what it waits for at present, and since when. So no wait is without a
 * name: what lasts longer than `reportAfterMs` is logged once, and goes on (hard mount) or fails with EIO at its
 * `softTimeoutMs`.
 *
 * An operation can be cancelled (its signal, its soft time-out): its caller gets the error at once. The body is not torn
 * down in the middle: it goes on until a point where it asks `check`, or to its end, because what it has begun (a write
 * on one of two stores, a numbered transaction) has to be finished by someone.
 */
import { BrineError } from "../errors/brine-error.ts";
import { FileError } from "../errors/file-error.ts";
import type { Clock, Timer } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import type { StopSignal } from "./file-system.ts";
import { kindOfWait, type OperationMeter, type OperationTime } from "./operation-meter.ts";
import type { Soon } from "./soon.ts";

/** A person notices a pause of this length, and no healthy operation takes so long. */
const reportAfterMs = 10_000;
/** How late a report or a soft time-out may come. */
const sweepMs = 1_000;

/** Who waits until fewer dirty bytes are in memory. */
export const waitsForRoom = "earlier writes to reach the stores";

/** What `brine waits` shows of one operation. */
export interface WaitView {
  readonly operation: string;
  readonly inode: number;
  readonly waitsFor: string;
  readonly sinceMs: number;
}

/** One request of the FileSystem face, from its call to the end of its body. */
export class Operation {
  readonly name: string;
  readonly inode: number;
  readonly startedMs: number;
  /** It waits for what may take as long as others like (an advisory lock): neither reported nor ended by `soft`. */
  hasDeadline = true;
  reported = false;
  readonly #time: OperationTime | undefined;
  #waitsFor = "start";
  #failure: FileError | undefined;
  #onCancel: ((failure: FileError) => void)[] = [];

  /** @param time takes along where its time goes */
  constructor(name: string, inode: number, startedMs: number, time?: OperationTime) {
    this.name = name;
    this.inode = inode;
    this.startedMs = startedMs;
    this.#time = time;
  }

  /** For people: `leader.lookup`, `lease (shared) on inode 5`, `store 2 at 127.0.0.1:7412`. Set before each wait. */
  get waitsFor(): string {
    return this.#waitsFor;
  }

  /** What it begins with tells the kind of wait: see operation-meter.ts. */
  set waitsFor(waitsFor: string) {
    this.#waitsFor = waitsFor;
    this.#time?.waits(kindOfWait(waitsFor));
  }

  /** The body has ended. */
  measured(failed: boolean): void {
    this.#time?.ended(this.name, failed);
  }

  get cancelled(): boolean {
    return this.#failure !== undefined;
  }

  /** Throws EINTR or EIO if nobody waits for the outcome any more. Called where stopping leaves nothing half done. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** `callback` runs when the operation is cancelled, before its caller learns of it. */
  onCancel(callback: (failure: FileError) => void): void {
    if (this.#failure !== undefined) callback(this.#failure);
    else this.#onCancel.push(callback);
  }

  /** Idempotent. */
  cancel(failure: FileError): void {
    if (this.#failure !== undefined) return;
    this.#failure = failure;
    const callbacks = this.#onCancel;
    this.#onCancel = [];
    for (const callback of callbacks) callback(failure);
  }
}

export class Waits {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #softTimeoutMs: number | undefined;
  readonly #meter: OperationMeter | undefined;
  readonly #active = new Set<Operation>();
  /** Who leads and has not answered for some time, if that is so: it is what all wait for who wait for the leader. */
  silentLeader: () => string | undefined = () => undefined;
  /** Why data of this client can't go to the stores, if that is so: it is what all wait for who wait for their data. */
  lackOfCopies: () => string | undefined = () => undefined;
  #sweep: Timer | undefined;
  #onIdle: (() => void)[] = [];

  /** @param softTimeoutMs undefined: operations wait as long as it takes */
  constructor(clock: Clock, log: Logger, softTimeoutMs: number | undefined, meter?: OperationMeter) {
    this.#meter = meter;
    this.#clock = clock;
    this.#log = log;
    this.#softTimeoutMs = softTimeoutMs;
  }

  /**
   * Runs a body as an operation. Fails with FileError; with anything else only for a defect. What the body has at once is
   * returned, or thrown, at once.
   */
  run<T>(
    name: string,
    inode: number,
    signal: StopSignal | undefined,
    body: (operation: Operation) => Promise<T>,
  ): Promise<T>;
  run<T>(name: string, inode: number, signal: StopSignal | undefined, body: (operation: Operation) => Soon<T>): Soon<T>;
  run<T>(
    name: string,
    inode: number,
    signal: StopSignal | undefined,
    body: (operation: Operation) => Soon<T>,
  ): Soon<T> {
    if (signal?.aborted === true) return Promise.reject(new FileError("EINTR"));
    const startedMs = this.#clock.nowMs();
    const operation = new Operation(name, inode, startedMs, this.#meter?.begin(startedMs));
    let outcome: Soon<T>;
    try {
      outcome = body(operation);
    } catch (error) {
      operation.measured(true);
      throw this.#asFileError(operation, error);
    }
    if (outcome instanceof Promise) return this.#wait(operation, signal, outcome);
    operation.measured(false);
    return outcome;
  }

  #wait<T>(operation: Operation, signal: StopSignal | undefined, outcome: Promise<T>): Promise<T> {
    this.#active.add(operation);
    if (this.#sweep === undefined) this.#arm();
    return new Promise<T>((resolve, reject) => {
      const onAbort = () => operation.cancel(new FileError("EINTR"));
      signal?.addEventListener("abort", onAbort, { once: true });
      const end = (failed: boolean) => {
        operation.measured(failed);
        signal?.removeEventListener("abort", onAbort);
        this.#end(operation);
      };
      outcome.then(
        (value) => {
          end(false);
          resolve(value);
        },
        (error) => {
          end(true);
          const failure = this.#asFileError(operation, error);
          if (operation.cancelled && !(failure instanceof FileError)) {
            const { name, inode } = operation;
            this.#log.error("defect in a cancelled operation", { operation: name, inode, error: String(error?.stack) });
          }
          reject(failure);
        },
      );
      // A rejection reaches the caller in a later turn: all other callbacks (data to be kept) have run by then.
      operation.onCancel(reject);
    });
  }

  /** Those whose callers wait, the oldest first. */
  list(): WaitView[] {
    const nowMs = this.#clock.nowMs();
    return [...this.#active]
      .filter((operation) => !operation.cancelled)
      .map((operation) => ({
        operation: operation.name,
        inode: operation.inode,
        waitsFor: this.#whatFor(operation),
        sinceMs: nowMs - operation.startedMs,
      }));
  }

  #whatFor({ waitsFor }: Operation): string {
    const kind = kindOfWait(waitsFor);
    const lack = kind === "commit" || waitsFor === waitsForRoom ? this.lackOfCopies() : undefined;
    const silent = kind === "client" || kind === "store" ? undefined : this.silentLeader();
    return [waitsFor, lack, silent].filter((part) => part !== undefined).join("; ");
  }

  /** Resolves when nothing is under way, cancelled bodies included, or after `timeoutMs`. True if all has ended. */
  async idle(timeoutMs: number): Promise<boolean> {
    if (this.#active.size === 0) return true;
    await new Promise<void>((resolve) => {
      const timer = this.#clock.startTimer(timeoutMs, resolve);
      this.#onIdle.push(() => {
        timer.cancel();
        resolve();
      });
    });
    return this.#active.size === 0;
  }

  #end(operation: Operation): void {
    this.#active.delete(operation);
    if (operation.reported && !operation.cancelled) {
      const lastedMs = Math.round(this.#clock.nowMs() - operation.startedMs);
      this.#log.info("operation goes on", { operation: operation.name, inode: operation.inode, lastedMs });
    }
    if (this.#active.size > 0) return;
    const waiting = this.#onIdle;
    this.#onIdle = [];
    for (const resolve of waiting) resolve();
  }

  /** The timer is not tied to single operations: it runs on until a sweep finds none. */
  #arm(): void {
    const delayMs = this.#softTimeoutMs === undefined ? sweepMs : Math.min(sweepMs, this.#softTimeoutMs / 4);
    this.#sweep = this.#clock.startTimer(delayMs, () => {
      this.#sweep = undefined;
      this.#look();
      if (this.#active.size > 0) this.#arm();
    });
  }

  #look(): void {
    const nowMs = this.#clock.nowMs();
    for (const operation of [...this.#active]) {
      if (operation.cancelled || !operation.hasDeadline) continue;
      const sinceMs = nowMs - operation.startedMs;
      const late = this.#softTimeoutMs !== undefined && sinceMs >= this.#softTimeoutMs;
      if (late || (sinceMs >= reportAfterMs && !operation.reported)) {
        operation.reported = true;
        this.#log.warn(late ? "operation fails: soft time-out" : "operation waits", {
          operation: operation.name,
          inode: operation.inode,
          waitsFor: this.#whatFor(operation),
          sinceMs: Math.round(sinceMs),
        });
      }
      if (late)
        operation.cancel(new FileError("EIO", `waited ${Math.round(sinceMs)} ms for ${this.#whatFor(operation)}`));
    }
  }

  /** What a program gets for an error that is not an errno already; the log says more. */
  #asFileError(operation: Operation, error: unknown): unknown {
    if (error instanceof FileError || !(error instanceof BrineError)) return error;
    if (error.code === "noSpace") return new FileError("ENOSPC", error.message);
    this.#log.error("operation failed", {
      operation: operation.name,
      inode: operation.inode,
      code: error.code,
      reason: error.message,
    });
    return new FileError("EIO", error.message);
  }
}
