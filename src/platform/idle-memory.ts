/**
 * Gives memory back when nothing happens. V8 collects garbage when it wants memory, and the C library keeps what was freed: after a
 * busy minute a process holds twice what it needs, for as long as it lies idle.
 *
 * A collection stops the process for about a millisecond for each megabyte of live objects. So it waits for two quiet looks, for
 * enough that has come since the last time, and leaves large heaps alone.
 */
import { performance } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { trimMemory } from "./libc.ts";

const lookMs = 2_000;
const quietLooks = 2;
/** Of the time between two looks. */
const quietShare = 0.05;
const grownBytesMin = 32 * 1024 * 1024;
/** Used by live objects and garbage: above, only freed memory outside of the heap is given back. */
const heapBytesMax = 512 * 1024 * 1024;

export interface MemoryReadings {
  /** Part of the time since the last call in which the event loop was busy: 0–1. */
  readonly busyShare: () => number;
  readonly residentBytes: () => number;
  readonly heapBytes: () => number;
}

export interface GivingBack {
  readonly collectGarbage: () => void;
  readonly trim: () => void;
}

/** Looks at a process again and again, and decides. */
export class IdleMemory {
  readonly #readings: MemoryReadings;
  readonly #givingBack: GivingBack;
  #quiet = 0;
  /** Resident after the last time. */
  #leftBytes = 0;

  constructor(readings: MemoryReadings, givingBack: GivingBack) {
    this.#readings = readings;
    this.#givingBack = givingBack;
  }

  look(): void {
    const { busyShare, residentBytes, heapBytes } = this.#readings;
    this.#quiet = busyShare() < quietShare ? this.#quiet + 1 : 0;
    if (this.#quiet < quietLooks || residentBytes() - this.#leftBytes < grownBytesMin) return;
    if (heapBytes() <= heapBytesMax) this.#givingBack.collectGarbage();
    this.#givingBack.trim();
    this.#leftBytes = residentBytes();
    this.#quiet = 0;
  }
}

/** Of this process, from now on; keeps it from nothing else, not from ending either. */
export function giveBackIdleMemory(): void {
  let before = performance.eventLoopUtilization();
  const busyShare = () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return utilization;
  };
  const readings = { busyShare, residentBytes: () => process.memoryUsage.rss(), heapBytes };
  const idle = new IdleMemory(readings, { collectGarbage, trim: trimMemory });
  setInterval(() => idle.look(), lookMs).unref();
}

function heapBytes(): number {
  return process.memoryUsage().heapUsed;
}

let collect: (() => void) | undefined;

function collectGarbage(): void {
  if (collect === undefined) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc") as () => void;
  }
  collect();
}
