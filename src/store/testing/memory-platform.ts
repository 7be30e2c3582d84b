/** A platform in memory for the store's tests: virtual time, seeded randomness, a disk and a database that can crash. */

import { Metrics } from "../../metrics/metrics.ts";
import type { Clock, Timer } from "../../platform/clock.ts";
import type { LogFields, Logger } from "../../platform/logger.ts";
import { MemoryKeyValueEngine } from "../../platform/memory-key-value.ts";
import type { Network } from "../../platform/network.ts";
import type { Platform } from "../../platform/platform.ts";
import type { Random } from "../../platform/random.ts";
import { MemoryDisk } from "./memory-disk.ts";

export class ManualClock implements Clock {
  #nowMs = 1_000_000;
  readonly #timers = new Set<{ atMs: number; callback: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  wallNs(): bigint {
    return BigInt(Math.floor(this.#nowMs)) * 1_000_000n;
  }

  startTimer(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  /** Lets time pass, timer by timer, with time for what they start. */
  async advance(byMs: number): Promise<void> {
    const endMs = this.#nowMs + byMs;
    for (;;) {
      let next: { atMs: number; callback: () => void } | undefined;
      for (const timer of this.#timers) {
        if (timer.atMs <= endMs && (next === undefined || timer.atMs < next.atMs)) next = timer;
      }
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = next.atMs;
      next.callback();
      await settle();
    }
    this.#nowMs = endMs;
    await settle();
  }
}

/** Lets everything that waits for no timer go on. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** xorshift32: the same numbers for the same seed. */
export class SeededRandom implements Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) >>> 0 || 1;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }

  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    this.#state >>>= 0;
    return this.#state % limit;
  }
}

export class MemoryPlatform implements Platform {
  readonly clock = new ManualClock();
  readonly random: SeededRandom;
  readonly disk = new MemoryDisk();
  readonly keyValue = new MemoryKeyValueEngine();
  readonly logger: Logger;
  readonly metrics = new Metrics();
  readonly logLines: string[] = [];
  readonly network: Network = {
    listen: () => Promise.reject(new Error("no network in this test")),
    connect: () => Promise.reject(new Error("no network in this test")),
  };

  constructor(seed = 1) {
    this.random = new SeededRandom(seed);
    this.logger = loggerInto(this.logLines);
  }

  /** Loss of power: unsynced pages and index commits may be lost. */
  crash(): void {
    this.disk.crash(() => this.random.below(2) === 0);
    const index = this.keyValue.database("store/index.sqlite");
    index.crash(this.random.below(index.volatileCommits + 1));
  }
}

function loggerInto(lines: string[]): Logger {
  const log = (event: string, fields: LogFields = {}) => {
    lines.push(`${event} ${JSON.stringify(fields)}`);
  };
  const logger: Logger = { debug: log, info: log, warn: log, error: log, for: () => logger };
  return logger;
}
