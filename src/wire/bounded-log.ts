/**
 * A log of connections, bounded: anybody who reaches the port can make a server say as many lines as he can make
 * connections, and a log that grows at that rate fills the disk that data is on, too.
 */
import type { Clock, Timer } from "../platform/clock.ts";
import type { LogFields, Logger, LogLevel } from "../platform/logger.ts";

/** Enough for all clients of a cluster that is of the wrong version; 6 MB a day at most. */
const linesMax = 30;
const periodMs = 60_000;

export class BoundedLog implements Logger {
  readonly #clock: Clock;
  readonly #logger: Logger;
  #sinceMs = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #leftOut = 0;
  /** Runs while something is left out. */
  #end: Timer | undefined;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  debug(event: string, fields?: LogFields): void {
    this.#say("debug", event, fields);
  }

  info(event: string, fields?: LogFields): void {
    this.#say("info", event, fields);
  }

  warn(event: string, fields?: LogFields): void {
    this.#say("warn", event, fields);
  }

  error(event: string, fields?: LogFields): void {
    this.#say("error", event, fields);
  }

  for(part: string): Logger {
    return this.#logger.for(part);
  }

  /** What was left out last stays unsaid. */
  close(): void {
    this.#end?.cancel();
  }

  #say(level: LogLevel, event: string, fields?: LogFields): void {
    const nowMs = this.#clock.nowMs();
    if (nowMs - this.#sinceMs >= periodMs) {
      this.#sinceMs = nowMs;
      this.#lines = 0;
    }
    this.#lines += 1;
    if (this.#lines <= linesMax) {
      this.#logger[level](event, fields);
      return;
    }
    this.#leftOut += 1;
    this.#end ??= this.#clock.startTimer(this.#sinceMs + periodMs - nowMs, () => this.#sayLeftOut());
  }

  #sayLeftOut(): void {
    this.#logger.warn("more lines about connections were left out", { lines: this.#leftOut, inMs: periodMs });
    this.#leftOut = 0;
    this.#end = undefined;
  }
}
