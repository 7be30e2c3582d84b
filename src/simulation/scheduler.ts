/**
 * Virtual time: everything that a simulated cluster waits for is an event here, and nothing else makes anything happen.
 *
 * 1. Events stand in a heap by (time, a random number of the seed, order of scheduling): events of the same moment come in
 *    an order that the seed chooses, so that no part can rely on the order in which things were started.
 * 2. `run` takes the first event, sets the clock, runs it, and then lets all microtasks drain, by waiting for one
 *    macrotask turn of the real event loop. Code under test never waits for anything but events and promises, so after
 *    that turn everything that follows from the event has been done, and the next event can be taken.
 * 3. A running hash over time and label of all events (and what is noted beside: bytes delivered, log lines) is the
 *    digest. The same seed must give the same digest; if it doesn't, something took its decision from outside.
 */
import { createHash } from "node:crypto";
import { SimulatedRandom } from "./simulated-random.ts";

export interface ScheduledEvent {
  /** Idempotent; afterwards the event does nothing. */
  cancel(): void;
  readonly cancelled: boolean;
}

/** Why `run` returned. idle: no event is left, so nothing can ever happen again. */
export type RunEnd = "finished" | "idle" | "timeLimit" | "stepLimit";

interface QueuedEvent extends ScheduledEvent {
  readonly timeUs: number;
  readonly tie: number;
  readonly order: number;
  readonly label: string;
  readonly action: () => void;
}

/** The hash takes text in pieces of this size: a call for each event would cost more than the events. */
const digestBatchCharacters = 32 * 1024;

export class Scheduler {
  readonly random: SimulatedRandom;
  readonly #ties: SimulatedRandom;
  readonly #heap: QueuedEvent[] = [];
  readonly #hash = createHash("sha256");
  #triggers: { readonly step: number; readonly action: () => void }[] = [];
  #unhashed = "";
  #nowUs = 0;
  #order = 0;
  #steps = 0;
  #running = false;

  constructor(seed: number) {
    this.random = new SimulatedRandom(`seed ${seed}`);
    this.#ties = this.random.fork("ties");
  }

  /** Microseconds since the simulation began. */
  get nowUs(): number {
    return this.#nowUs;
  }

  /** Events that have been run. */
  get steps(): number {
    return this.#steps;
  }

  /** Runs `action` in `delayUs` (≥ 0). `label` says in the trace what it is. */
  schedule(delayUs: number, label: string, action: () => void): ScheduledEvent {
    if (!(delayUs >= 0)) throw new RangeError(`${label} in ${delayUs} µs`);
    const event = {
      timeUs: this.#nowUs + Math.ceil(delayUs),
      tie: this.#ties.below(0x1_0000_0000),
      order: this.#order,
      label,
      action,
      cancelled: false,
      cancel() {
        event.cancelled = true;
      },
    };
    this.#order += 1;
    this.#push(event);
    return event;
  }

  /**
   * Runs `action` when `steps` more events have been run: in the middle of things, where time would mostly find nothing
   * going on.
   */
  afterSteps(steps: number, action: () => void): void {
    this.#triggers.push({ step: this.#steps + steps, action });
  }

  /** Makes `text` part of the digest. */
  note(text: string): void {
    this.#unhashed += `${text}\n`;
    if (this.#unhashed.length >= digestBatchCharacters) this.#flush();
  }

  /** Hash of all that has happened so far: 16 hex digits. */
  digest(): string {
    this.#flush();
    return this.#hash.copy().digest("hex").slice(0, 16);
  }

  /** Runs events until `finished`. What an event throws comes out of here: it is a defect of the code under test. */
  async run(finished: () => boolean, limits: { untilUs: number; steps?: number }): Promise<RunEnd> {
    if (this.#running) throw new Error("the scheduler runs already");
    this.#running = true;
    const stepLimit = this.#steps + (limits.steps ?? Number.POSITIVE_INFINITY);
    try {
      await microtasksDrained();
      for (;;) {
        if (finished()) return "finished";
        const next = this.#peek();
        if (next === undefined) return "idle";
        if (next.timeUs > limits.untilUs) {
          this.#nowUs = Math.max(this.#nowUs, limits.untilUs);
          return "timeLimit";
        }
        if (this.#steps >= stepLimit) return "stepLimit";
        this.#pop();
        this.#nowUs = next.timeUs;
        this.#steps += 1;
        this.note(`${next.timeUs} ${next.label}`);
        next.action();
        await microtasksDrained();
        this.#trigger();
      }
    } finally {
      this.#running = false;
    }
  }

  #trigger(): void {
    if (!this.#triggers.some(({ step }) => step <= this.#steps)) return;
    const due = this.#triggers.filter(({ step }) => step <= this.#steps);
    this.#triggers = this.#triggers.filter(({ step }) => step > this.#steps);
    for (const { action } of due) action();
  }

  #flush(): void {
    this.#hash.update(this.#unhashed, "latin1");
    this.#unhashed = "";
  }

  #peek(): QueuedEvent | undefined {
    while (this.#heap[0]?.cancelled) this.#pop();
    return this.#heap[0];
  }

  #push(event: QueuedEvent): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(event);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(left: QueuedEvent, right: QueuedEvent): boolean {
  return left.timeUs - right.timeUs < 0 || (left.timeUs === right.timeUs && tieIsBefore(left, right));
}

function tieIsBefore(left: QueuedEvent, right: QueuedEvent): boolean {
  return left.tie < right.tie || (left.tie === right.tie && left.order < right.order);
}

/** Microtasks run before the next macrotask: when this one has come, none is left. */
function microtasksDrained(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
