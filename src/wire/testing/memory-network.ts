/**
 * A Platform for this module's tests: connections in memory, a clock that tests move, a log that tests read.
 *
 * Bytes are delivered in microtasks, in chunks of `chunkBytes`, from a buffer that is overwritten after each delivery,
 * so that code which keeps received bytes fails.
 */
import { Metrics } from "../../metrics/metrics.ts";
import type { Clock, Timer } from "../../platform/clock.ts";
import type { Logger } from "../../platform/logger.ts";
import {
  type Address,
  type Connection,
  type ConnectionEvents,
  closedByPeer,
  type Network,
  NetworkError,
} from "../../platform/network.ts";
import type { Platform } from "../../platform/platform.ts";

export interface TestPlatform extends Platform {
  readonly clock: ManualClock;
  readonly network: MemoryNetwork;
  readonly lines: string[];
}

export function testPlatform(): TestPlatform {
  const lines: string[] = [];
  const absent = () => {
    throw new Error("not part of this test platform");
  };
  return {
    clock: new ManualClock(),
    network: new MemoryNetwork(),
    logger: lineLogger(lines, ""),
    metrics: new Metrics(),
    random: { bytes: absent, below: absent },
    keyValue: { open: absent, copy: absent, remove: absent },
    disk: undefined as never,
    lines,
  };
}

/** Lets everything happen that happens without time. */
export async function settle(): Promise<void> {
  for (let round = 0; round < 5; round++) await new Promise((resolve) => setImmediate(resolve));
}

export class ManualClock implements Clock {
  #nowMs = 1000;
  readonly #timers = new Set<{ atMs: number; callback: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  wallNs(): bigint {
    return BigInt(Math.round(this.#nowMs * 1e6));
  }

  startTimer(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  /** Timers that are set. */
  get timerCount(): number {
    return this.#timers.size;
  }

  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      await settle();
      const due = [...this.#timers].filter((timer) => timer.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (due === undefined) break;
      this.#timers.delete(due);
      this.#nowMs = Math.max(this.#nowMs, due.atMs);
      due.callback();
    }
    this.#nowMs = untilMs;
    await settle();
  }
}

export class MemoryNetwork implements Network {
  readonly #listeners = new Map<Address, (connection: Connection) => void>();
  /** The connecting ends, in order. */
  readonly connections: MemoryConnection[] = [];
  /** Most bytes in one onData. */
  chunkBytes = 64 * 1024;
  #nextPort = 40_000;

  async listen(address: Address, onConnection: (connection: Connection) => void) {
    if (this.#listeners.has(address)) throw new NetworkError("EADDRINUSE", `listen on ${address}`);
    this.#listeners.set(address, onConnection);
    return { address, close: async () => void this.#listeners.delete(address) };
  }

  async connect(address: Address): Promise<MemoryConnection> {
    const onConnection = this.#listeners.get(address);
    if (onConnection === undefined) throw new NetworkError("ECONNREFUSED", `connect to ${address}`);
    const [near, far] = connectionPair(address, `10.0.0.1:${this.#nextPort++}`, () => this.chunkBytes);
    this.connections.push(near);
    onConnection(far);
    return near;
  }
}

/** Two ends of one connection: `near` sees `farAddress` as remote and the other way round. */
export function connectionPair(
  farAddress: Address,
  nearAddress: Address,
  chunkBytes: () => number = () => 64 * 1024,
): [near: MemoryConnection, far: MemoryConnection] {
  const near = new MemoryConnection(farAddress, nearAddress, chunkBytes);
  const far = new MemoryConnection(nearAddress, farAddress, chunkBytes);
  near.other = far;
  far.other = near;
  return [near, far];
}

export class MemoryConnection implements Connection {
  readonly remoteAddress: Address;
  readonly localAddress: Address;
  readonly #chunkBytes: () => number;
  other!: MemoryConnection;
  #events: ConnectionEvents | undefined;
  #queue: Uint8Array[] = [];
  #whenSent: (() => void)[] = [];
  #ended = false;
  /** Set when it is time for onClose. */
  #endReason: string | undefined;
  #delivering = false;
  /** While set nothing is delivered, and `send` answers false above `highWaterBytes`. */
  #held = false;
  #full = false;
  highWaterBytes = 4 * 1024 * 1024;
  /** Sizes of all buffers that were sent. */
  readonly sentSizes: number[] = [];

  constructor(remoteAddress: Address, localAddress: Address, chunkBytes: () => number) {
    this.remoteAddress = remoteAddress;
    this.localAddress = localAddress;
    this.#chunkBytes = chunkBytes;
  }

  start(events: ConnectionEvents): void {
    if (this.#events !== undefined) throw new Error("started twice");
    this.#events = events;
    if (this.#endReason !== undefined) events.onClose(this.#endReason);
    else this.other.#deliver();
  }

  send(buffers: readonly Uint8Array[], sent?: () => void): boolean {
    if (this.#ended) return true;
    if (sent !== undefined) this.#whenSent.push(sent);
    for (const buffer of buffers) this.sentSizes.push(buffer.byteLength);
    this.#queue.push(...buffers);
    this.#deliver();
    this.#full = this.bufferedBytes > this.highWaterBytes;
    return !this.#full;
  }

  get bufferedBytes(): number {
    return this.#queue.reduce((sum, buffer) => sum + buffer.byteLength, 0);
  }

  destroy(): void {
    if (this.#ended) return;
    this.#end("closed here");
    queueMicrotask(() => this.other.#end(closedByPeer));
  }

  /** Stops (true) or resumes the delivery of what is sent on this end. */
  hold(held: boolean): void {
    this.#held = held;
    this.#deliver();
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    queueMicrotask(() => {
      this.#endReason = reason;
      this.#events?.onClose(reason);
    });
  }

  #deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    queueMicrotask(() => {
      this.#delivering = false;
      if (this.#held || this.other.#events === undefined || this.#ended || this.#queue.length === 0) return;
      const bytes = Buffer.concat(this.#queue);
      this.#queue = [];
      for (const sent of this.#whenSent.splice(0)) sent();
      const step = this.#chunkBytes();
      for (let at = 0; at < bytes.byteLength && !this.other.#ended; at += step) {
        const chunk = Buffer.from(bytes.subarray(at, at + step));
        this.other.#events.onData(chunk);
        chunk.fill(0xee);
      }
      if (this.#full) {
        this.#full = false;
        this.#events?.onDrain();
      }
    });
  }
}

function lineLogger(lines: string[], prefix: string): Logger {
  const at = (level: string) => (event: string, fields?: object) => {
    lines.push(`${level} ${prefix}${event} ${JSON.stringify(fields ?? {})}`);
  };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    for: (part) => lineLogger(lines, `${part}: `),
  };
}
