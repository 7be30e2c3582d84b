/** Progress of long work: a bar with rate and time left on a terminal, plain lines elsewhere. */
import { SingleBar } from "cli-progress";
import type { Clock } from "../platform/clock.ts";
import { print, thisProcess } from "../platform/processes.ts";

/** Elsewhere than on a terminal: often enough to see that it goes on, seldom enough for a log. */
const lineEveryMs = 5_000;

export class Progress {
  readonly #clock: Clock;
  readonly #what: string;
  readonly #unit: string;
  readonly #total: number;
  readonly #startedMs: number;
  readonly #bar: SingleBar | undefined;
  #linedMs: number;
  #done = 0;

  /** `what` is being done, `total` `unit`s of it: `deleting photos`, 84000, `inodes`. */
  constructor(clock: Clock, what: string, total: number, unit: string) {
    this.#clock = clock;
    this.#what = what;
    this.#unit = unit;
    this.#total = total;
    this.#startedMs = clock.nowMs();
    this.#linedMs = this.#startedMs;
    if (thisProcess.terminalColumns === undefined) return;
    const format = `${what} {bar} {percentage}% | {value} of {total} ${unit} | {rate} | {left}`;
    this.#bar = new SingleBar({ format, hideCursor: true, clearOnComplete: false });
    this.#bar.start(total, 0, { rate: "", left: "" });
  }

  /** `done` units are done now. */
  update(done: number): void {
    this.#done = done;
    const nowMs = this.#clock.nowMs();
    const perSecond = (done * 1000) / Math.max(1, nowMs - this.#startedMs);
    const rate = `${Math.round(perSecond)} ${this.#unit}/s`;
    const left = perSecond === 0 ? "" : this.#leftText((this.#total - done) / perSecond);
    if (this.#bar !== undefined) {
      this.#bar.update(done, { rate, left });
    } else if (nowMs - this.#linedMs >= lineEveryMs) {
      this.#linedMs = nowMs;
      print(`${this.#what}: ${done} of ${this.#total} ${this.#unit}, ${rate}, ${left}`);
    }
  }

  /** `90 s left, until 17:45:12`. */
  #leftText(seconds: number): string {
    const endNs = this.#clock.wallNs() + BigInt(Math.ceil(seconds)) * 1_000_000_000n;
    const end = new Date(Number(endNs / 1_000_000n)).toTimeString().slice(0, 8);
    return `${Math.ceil(seconds)} s left, until ${end}`;
  }

  /** Says something in between. */
  note(lines: readonly string[]): void {
    this.#bar?.stop();
    for (const line of lines) print(line);
    this.#bar?.start(this.#total, this.#done, { rate: "", left: "" });
  }

  /** It is over, or is given up. */
  stop(): void {
    this.#bar?.stop();
  }

  finish(): void {
    this.update(this.#total);
    this.stop();
  }
}
