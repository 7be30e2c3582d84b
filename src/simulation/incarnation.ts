/**
 * One life of a process on a simulated host. Every completion, timer and message that the process gets comes through
 * `after`. When it is killed, none comes any more, for good: whatever its code still waits for never happens, and its
 * successor on the same host is a new incarnation. While it is paused (SIGSTOP, a stalled machine) everything comes
 * late, in order.
 */
import type { ScheduledEvent, Scheduler } from "./scheduler.ts";

export class Incarnation {
  /** `HOST#NUMBER`, in traces and logs. */
  readonly name: string;
  readonly host: string;
  /** Of the process; no two processes of a host have the same. */
  readonly pid: number;
  readonly scheduler: Scheduler;
  readonly #onDeath: (() => void)[] = [];
  #late: { event: ScheduledEvent; action: () => void }[] | undefined;
  #alive = true;

  constructor(scheduler: Scheduler, host: string, number: number) {
    this.scheduler = scheduler;
    this.host = host;
    this.pid = number;
    this.name = `${host}#${number}`;
  }

  get alive(): boolean {
    return this.#alive;
  }

  get paused(): boolean {
    return this.#late !== undefined;
  }

  /** Runs `action` in `delayUs`, if the incarnation still lives then; once it is resumed, if it is paused. */
  after(delayUs: number, label: string, action: () => void): ScheduledEvent {
    const event = this.scheduler.schedule(delayUs, `${this.name} ${label}`, () => {
      if (!this.#alive) return;
      if (this.#late !== undefined) this.#late.push({ event, action });
      else action();
    });
    return event;
  }

  /** Resolves in `delayUs`. */
  delay(delayUs: number, label: string): Promise<void> {
    return new Promise((resolve) => this.after(delayUs, label, resolve));
  }

  pause(): void {
    this.#late ??= [];
  }

  resume(): void {
    const late = this.#late ?? [];
    this.#late = undefined;
    for (const [index, { event, action }] of late.entries()) {
      this.after(index, "late", () => {
        if (!event.cancelled) action();
      });
    }
  }

  /** Called once, when the incarnation dies. */
  onDeath(callback: () => void): void {
    this.#onDeath.push(callback);
  }

  kill(): void {
    if (!this.#alive) return;
    this.#alive = false;
    this.#late = undefined;
    for (const callback of this.#onDeath.splice(0)) callback();
  }
}
