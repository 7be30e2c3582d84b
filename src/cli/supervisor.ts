/**
 * Keeps one child process running: starts it, starts it again when it dies, stops it when asked.
 *
 *     starting ──ready──► running ──died──► waiting (back-off) ──► starting …
 *                            └────stop()────► stopped
 */
import { BrineError } from "../errors/brine-error.ts";
import { type Clock, sleep } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import { type Child, startBrine } from "../platform/processes.ts";
import { oneLine } from "./output.ts";

/**
 * A child that dies at once must not be started in a tight loop; one that ran for a while is back quickly. The longest
 * delay is short all the same: while the only server with the metadata is away, every operation of every mount waits.
 */
const firstRestartDelayMs = 100;
const restartDelayMsMax = 2_000;
const ranWellMs = 10_000;
/** A server that replays a long log needs its time; a mount waits for its servers. */
const readyTimeoutMs = 120_000;
/** A child that doesn't end at SIGTERM is killed: its data is safe, that is what the system is for. */
const stopTimeoutMs = 30_000;

export interface Supervised {
  /** For messages: `server 1`, `mount`. */
  readonly name: string;
  readonly arguments: readonly string[];
  readonly logFile: string;
}

export class Supervisor {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #what: Supervised;
  #child: Child | undefined;
  #stopping = false;
  #restarting: Promise<void> = Promise.resolve();

  constructor(clock: Clock, log: Logger, what: Supervised) {
    this.#clock = clock;
    this.#log = log;
    this.#what = what;
  }

  get pid(): number | undefined {
    return this.#child?.running === true ? this.#child.pid : undefined;
  }

  /** Starts the child for the first time. Resolves when it serves; rejects with BrineError refused if it can't. */
  async start(): Promise<void> {
    const child = startBrine(this.#what.arguments, this.#what.logFile);
    this.#child = child;
    const timer = this.#clock.startTimer(readyTimeoutMs, () => child.signal("SIGKILL"));
    try {
      await child.ready;
    } catch (error) {
      this.#stopping = true;
      const why = error instanceof BrineError ? oneLine(error) : String(error);
      throw new BrineError("refused", `${this.#what.name} did not start: ${why}`, { cause: error });
    } finally {
      timer.cancel();
    }
    this.#restarting = this.#watch(child, this.#clock.nowMs());
  }

  /** Ends the child cleanly; kills it if it doesn't end in time. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (child?.running === true) {
      child.signal("SIGTERM");
      const timer = this.#clock.startTimer(stopTimeoutMs, () => {
        this.#log.warn("killed: it did not end in time", { what: this.#what.name, pid: child.pid });
        child.signal("SIGKILL");
      });
      await child.ended;
      timer.cancel();
    }
    await this.#restarting;
  }

  async #watch(first: Child, startedMs: number): Promise<void> {
    let child = first;
    let sinceMs = startedMs;
    let delayMs = firstRestartDelayMs;
    for (;;) {
      const end = await child.ended;
      if (this.#stopping) return;
      if (this.#clock.nowMs() - sinceMs >= ranWellMs) delayMs = firstRestartDelayMs;
      this.#log.warn("died: starting it again", {
        what: this.#what.name,
        pid: child.pid,
        end: end.signal ?? `exit code ${end.code}`,
        log: this.#what.logFile,
      });
      await sleep(this.#clock, delayMs);
      delayMs = Math.min(delayMs * 2, restartDelayMsMax);
      if (this.#stopping) return;
      child = startBrine(this.#what.arguments, this.#what.logFile);
      this.#child = child;
      sinceMs = this.#clock.nowMs();
      void child.ready.then(
        () => this.#log.info("serves again", { what: this.#what.name, pid: child.pid }),
        () => {}, // its end is what counts, and is seen above
      );
    }
  }
}
