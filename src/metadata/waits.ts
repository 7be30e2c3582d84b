/**
 * Everything that someone waits for, with its owner and since when (promise P7). A wait that passes the deadline for
 * warnings is logged once, and once more when it ends.
 */
import type { Timer } from "../platform/clock.ts";
import type { LogFields, Logger } from "../platform/logger.ts";
import type { Lifetime } from "./lifetime.ts";

export interface Wait {
  /** What is waited for: `lease`, `fence`, `equalize`, … */
  readonly what: string;
  /** Who waits, and for whom; made when it is asked for, because owners change meanwhile. */
  readonly describe: () => LogFields;
  readonly sinceMs: number;
}

export interface OpenWait {
  end(): void;
}

export class Waits {
  readonly #lifetime: Lifetime;
  readonly #log: Logger;
  readonly #warningMs: number;
  readonly #waits = new Set<Wait>();

  constructor(lifetime: Lifetime, log: Logger, warningMs: number) {
    this.#lifetime = lifetime;
    this.#log = log;
    this.#warningMs = warningMs;
  }

  /** Oldest first. */
  list(): readonly Wait[] {
    return [...this.#waits];
  }

  /** @param what if it may change meanwhile, as it is when it is asked for */
  begin(what: string | (() => string), describe: () => LogFields): OpenWait {
    const wait: Wait = {
      get what() {
        return typeof what === "string" ? what : what();
      },
      describe,
      sinceMs: this.#lifetime.nowMs(),
    };
    this.#waits.add(wait);
    let warned = false;
    const timer: Timer = this.#lifetime.startTimer(this.#warningMs, () => {
      warned = true;
      this.#log.warn("long wait", { for: wait.what, ms: this.#warningMs, ...describe() });
    });
    return {
      end: () => {
        if (!this.#waits.delete(wait)) return;
        timer.cancel();
        if (warned)
          this.#log.info("wait ended", { for: wait.what, ms: Math.round(this.#lifetime.nowMs() - wait.sinceMs) });
      },
    };
  }
}
