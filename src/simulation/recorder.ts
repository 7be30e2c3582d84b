/** Makes system calls on mounts, keeps the history, and gives calls and returns to the checker as they happen. */
import type { Handle } from "../client/file-system.ts";
import { FileError } from "../errors/file-error.ts";
import type { HindsightChecker } from "./checkers/hindsight.ts";
import { Violation } from "./checkers/violation.ts";
import { describeOperation, describeOutcome, type FileOperation, type Outcome } from "./file-operation.ts";
import type { SystemCallResult } from "./kernel.ts";
import { type Mount, MountDied } from "./mount.ts";
import type { Scheduler } from "./scheduler.ts";

/** Operations that the report of a failure shows. */
const historyMax = 400;

/** A handle, and the operation that opened it. */
export interface OpenHandle {
  readonly handle: Handle;
  readonly openedBy: number;
}

export interface Result {
  readonly outcome: Outcome;
  /** Of open and of a create that opens. */
  readonly opened: OpenHandle | undefined;
  /** It failed, and nobody knows what it did before. */
  readonly doubtful: boolean;
}

/**
 * How an error that the model doesn't know may come about. refused: without any effect. fatal: the mount is of no use any more.
 */
export type Tolerance = "no" | "mayHaveHappened" | "refused" | "fatal";

type TolerancesOf = (mount: Mount, errno: string, calledUs: number, operation: FileOperation) => Tolerance;

export interface UnderWay {
  readonly operation: FileOperation;
  /** It, and the mount. */
  readonly text: string;
  readonly calledUs: number;
}

export class Recorder {
  readonly #scheduler: Scheduler;
  readonly #checker: HindsightChecker;
  readonly #tolerance: TolerancesOf;
  readonly #history: string[] = [];
  /** Operations that have returned, and may not be durable: with the client's position at that time. */
  readonly #answered = new Map<Mount, { id: number; session: number; position: number }[]>();
  readonly #underWay = new Map<number, UnderWay>();
  #count = 0;

  constructor(scheduler: Scheduler, checker: HindsightChecker, tolerance: TolerancesOf) {
    this.#scheduler = scheduler;
    this.#checker = checker;
    this.#tolerance = tolerance;
  }

  get count(): number {
    return this.#count;
  }

  /** Operations that have not returned, by their numbers. */
  get underWay(): ReadonlyMap<number, UnderWay> {
    return this.#underWay;
  }

  /** Number for the next operation: a write takes it as its tag. */
  get nextId(): number {
    return this.#count + 1;
  }

  /** The newest operations in the order of their ends, then those under way. */
  tail(): string[] {
    const waiting = [...this.#underWay].map(([id, { text, calledUs }]) =>
      line(id, calledUs, undefined, text, "under way"),
    );
    return [...this.#history, ...waiting];
  }

  /**
   * Performs an operation. `handle` is that of operations on open files, `source` that of a file to copy from.
   * Errors: Violation; MountDied, also when the mount turned out to be of no use.
   */
  async perform(mount: Mount, operation: FileOperation, handle?: Handle, source?: Handle): Promise<Result> {
    this.#count += 1;
    const id = this.#count;
    const calledUs = this.#scheduler.nowUs;
    this.#underWay.set(id, { operation, text: `${mount.name} ${describeOperation(operation)}`, calledUs });
    this.#noteDurable();
    this.#checker.called(id, mount.name, operation);
    let result: SystemCallResult;
    try {
      result = await Promise.race([mount.kernel.perform(operation, handle, source), mount.death]);
    } catch (error) {
      if (error instanceof MountDied) {
        this.#ends(id, "never returns");
        this.#checker.abandon(id);
        throw error;
      }
      if (!(error instanceof FileError)) throw new Violation("errors are FileErrors", `${(error as Error).stack}`);
      result = { outcome: { kind: "failed", errno: error.code } };
    }
    const { outcome } = result;
    const opened = result.handle && { handle: result.handle, openedBy: id };
    if (outcome === undefined) {
      this.#ends(id, "was not done");
      this.#checker.failedSomehow(id);
      return { outcome: { kind: "done" }, opened: undefined, doubtful: false };
    }
    const text = describeOutcome(outcome);
    this.#ends(id, text);
    this.#scheduler.note(`${id} ${text}`);
    if (outcome.kind === "failed") {
      return { outcome, opened, doubtful: this.#judgeError(id, mount, operation, outcome.errno, calledUs) };
    }
    const short = outcome.kind === "written" && "length" in operation && outcome.length < operation.length;
    // write(2): where there is no space or quota for all, what there is space for is written.
    const tolerates = (errno: string) => this.#tolerance(mount, errno, calledUs, operation) !== "no";
    if (short && (tolerates("ENOSPC") || tolerates("EDQUOT"))) this.#checker.shortened(id, outcome.length);
    this.#noteDurable();
    this.#checker.returned(id, outcome);
    const positions = mount.positions?.();
    if (positions !== undefined) {
      const { session, answered } = positions;
      const others = this.#answered.get(mount) ?? [];
      this.#answered.set(mount, [...others, { id, session, position: answered }]);
    }
    return { outcome, opened, doubtful: false };
  }

  /**
   * What clients know to be durable is: the checker then has less to keep in mind. Should a client be wrong, what it had is
   * missed later.
   */
  #noteDurable(): void {
    for (const [mount, answered] of this.#answered) {
      const { session, durable } = mount.positions!();
      const settled = answered.filter((one) => one.session === session && one.position <= durable);
      if (settled.length > 0) this.#checker.durable(new Set(settled.map(({ id }) => id)));
      const open = answered.filter((one) => one.session === session && one.position > durable);
      if (open.length > 0) this.#answered.set(mount, open);
      else this.#answered.delete(mount);
    }
  }

  /** True if the operation may have had an effect all the same. */
  #judgeError(id: number, mount: Mount, operation: FileOperation, errno: string, calledUs: number): boolean {
    const known = this.#tolerance(mount, errno, calledUs, operation);
    // What is done in steps may be refused after the first.
    const inSteps = operation.kind === "allocate" || operation.kind === "copyRange";
    const tolerance = known === "refused" && inSteps ? "mayHaveHappened" : known;
    if (tolerance === "no") this.#checker.returned(id, { kind: "failed", errno });
    else if (tolerance === "mayHaveHappened") this.#checker.failedSomehow(id);
    else if (tolerance === "refused") {
      this.#checker.refused(id);
      return false;
    } else {
      this.#checker.abandon(id);
      throw new MountDied(mount.name);
    }
    return tolerance !== "no";
  }

  #ends(id: number, outcome: string): void {
    const { text, calledUs } = this.#underWay.get(id)!;
    this.#underWay.delete(id);
    this.#history.push(line(id, calledUs, this.#scheduler.nowUs, text, outcome));
    if (this.#history.length > 2 * historyMax) this.#history.splice(0, historyMax);
  }
}

function line(id: number, calledUs: number, endedUs: number | undefined, text: string, outcome: string): string {
  const ms = (us: number | undefined) => (us === undefined ? "…" : (us / 1_000).toFixed(3));
  return `${String(id).padStart(5)} [${ms(calledUs)} – ${ms(endedUs)} ms] ${text} → ${outcome}`;
}
