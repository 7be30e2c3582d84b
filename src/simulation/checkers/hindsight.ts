/**
 * The checker of histories (linearizability.ts), where writes may turn out shorter than asked.
 *
 * How long a write is, is decided when it takes effect, and its application hears of it when it returns. Until then others may see what was
 * written of it. To follow all its possible lengths from its call on would be too much: a mebibyte has 256 blocks. So:
 *
 * 1. While writes are under way that may be made shorter, they are taken for whole; what happens is kept, from where none was under way.
 * 2. When one returns and is shorter, all of that is judged anew, now that its length is known.
 * 3. When what is seen can't be, it is judged anew with all lengths that those under way may have: one at a time for each, in each
 *    possible present (short-writes.ts). So is one that fails, or whose client dies: nobody ever tells its length.
 */
import type { FileOperation, Outcome } from "../file-operation.ts";
import type { Model } from "../model.ts";
import type { Invocation } from "../model-operations.ts";
import type { SimulationOptions } from "../simulation-result.ts";
import { LinearizabilityChecker } from "./linearizability.ts";
import { type Length, mayBeShorter, nothingShortens, type Shortening } from "./short-writes.ts";
import { Violation } from "./violation.ts";

/** What makes writes shorter in a simulation. @param mayFillDisks faults may fill disks */
export function shorteningOf({ quotas = false, full = false }: SimulationOptions, mayFillDisks: boolean): Shortening {
  return { byQuotas: quotas, byDisks: full || mayFillDisks };
}

type Event = (checker: LinearizabilityChecker) => void;

export class HindsightChecker {
  readonly #shortening: Shortening;
  #checker: LinearizabilityChecker;
  /** Where it was before the first of those under way was called; undefined: none is, or they can't be made shorter. */
  #before: LinearizabilityChecker | undefined;
  /** What has happened since. */
  readonly #events: Event[] = [];
  /** What may be made shorter, has not returned, and is taken for whole. */
  readonly #open = new Set<number>();
  /** Others that have been called since. */
  readonly #lengths = new Map<number, Length>();

  constructor(model: Model, shortening: Shortening = nothingShortens) {
    this.#shortening = shortening;
    this.#checker = new LinearizabilityChecker(model, shortening);
  }

  get possibleModels(): [Model, ...Model[]] {
    return this.#checker.possibleModels;
  }

  get configurationsMost(): number {
    return this.#checker.configurationsMost;
  }

  get isCrowded(): boolean {
    return this.#checker.isCrowded;
  }

  get openCount(): number {
    return this.#checker.openCount;
  }

  get unsyncedCount(): number {
    return this.#checker.unsyncedCount;
  }

  unsyncedInodes(client: string): number[] {
    return this.#checker.unsyncedInodes(client);
  }

  abandonedBy(client: string): Invocation[] {
    return this.#checker.abandonedBy(client);
  }

  called(id: number, client: string, operation: FileOperation): void {
    if (mayBeShorter(operation, this.#shortening)) {
      this.#before ??= new LinearizabilityChecker(this.#checker);
      this.#open.add(id);
    }
    this.#happens((checker) => checker.called(id, client, operation));
  }

  /** Throws Violation if no order of operations, and no lengths of writes under way, explain the outcome. */
  returned(id: number, outcome: Outcome): void {
    this.#open.delete(id);
    this.#happens((checker) => checker.returned(id, outcome));
  }

  failedSomehow(id: number): void {
    this.#isOfAnyLength(id);
    this.#happens((checker) => checker.failedSomehow(id));
  }

  refused(id: number): void {
    this.#open.delete(id);
    this.#happens((checker) => checker.refused(id));
  }

  abandon(id: number): void {
    this.#isOfAnyLength(id);
    this.#happens((checker) => checker.abandon(id));
  }

  clientDied(client: string): void {
    this.#happens((checker) => checker.clientDied(client));
  }

  sessionAtRisk(client: string): void {
    this.#happens((checker) => checker.sessionAtRisk(client));
  }

  sessionGoesOn(client: string): void {
    this.#happens((checker) => checker.sessionGoesOn(client));
  }

  sessionEnded(client: string): void {
    this.#happens((checker) => checker.sessionEnded(client));
  }

  nothingUnsynced(client: string): void {
    this.#happens((checker) => checker.nothingUnsynced(client));
  }

  durable(ids: ReadonlySet<number>): void {
    this.#happens((checker) => checker.durable(ids));
  }

  /** What is about to return was made shorter, for a reason that is known: a write, or a copy, of its first `length` bytes. Errors: Violation. */
  shortened(id: number, length: number): void {
    this.#hasLength(id, length);
  }

  #isOfAnyLength(id: number): void {
    if (this.#open.has(id)) this.#hasLength(id, "any");
  }

  #hasLength(id: number, length: Length): void {
    this.#open.delete(id);
    this.#lengths.set(id, length);
    this.#tries(() => this.#again(this.#lengths));
  }

  #happens(event: Event): void {
    if (this.#before !== undefined) this.#events.push(event);
    this.#tries(() => event(this.#checker));
    if (this.#open.size > 0) return;
    this.#before = undefined;
    this.#events.length = 0;
    this.#lengths.clear();
  }

  /** If it can't be, it may be with other lengths of what is under way. */
  #tries(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      if (!(error instanceof Violation) || this.#open.size === 0) throw error;
      this.#again(new Map([...this.#lengths, ...[...this.#open].map((id) => [id, "any"] as const)]));
    }
  }

  #again(lengths: ReadonlyMap<number, Length>): void {
    const checker = new LinearizabilityChecker(this.#before ?? this.#checker);
    for (const [id, length] of lengths) checker.hasLength(id, length);
    for (const event of this.#events) event(checker);
    this.#checker = checker;
  }
}
