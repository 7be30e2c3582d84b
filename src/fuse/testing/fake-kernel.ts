/** Plays the kernel for tests of the server: builds messages, collects replies; and a clock that tests move by hand. */
import type { Clock, Timer } from "../../platform/clock.ts";
import type { Logger } from "../../platform/logger.ts";
import { inHeader, opcode, outHeader } from "../protocol.ts";
import type { FuseTransport, FuseTransportEvents } from "../transport.ts";

export interface ReceivedReply {
  readonly unique: number;
  /** 0, or the error number. */
  readonly errno: number;
  readonly body: Buffer;
}

export interface RequestFields {
  readonly node?: number;
  readonly uid?: number;
  readonly task?: number;
  readonly unique?: number;
  /** The arguments behind the header. */
  readonly body?: Uint8Array;
}

export class FakeKernel implements FuseTransport {
  readonly replies: ReceivedReply[] = [];
  readonly released: Buffer[] = [];
  paused = false;
  /** The kernel no longer waits: `reply` says so. */
  refusesReplies = false;
  #events: FuseTransportEvents | undefined;
  #nextUnique = 2;

  start(events: FuseTransportEvents): void {
    this.#events = events;
  }

  get isWaiting(): boolean {
    return this.#events!.isWaiting();
  }

  reply(parts: readonly Uint8Array[]): boolean {
    if (this.refusesReplies) return false;
    const whole = Buffer.concat(parts);
    if (whole.readUInt32LE(outHeader.length) !== whole.length) throw new Error("a reply with a wrong length");
    const errno = whole.readInt32LE(outHeader.error);
    const unique = Number(whole.readBigUInt64LE(outHeader.unique));
    this.replies.push({ unique, errno: errno === 0 ? 0 : -errno, body: whole.subarray(outHeader.bytes) });
    return true;
  }

  /** What the kernel says to notifications that don't block; and all that it was sent. */
  notifyAnswer: ReturnType<FuseTransport["notify"]> = "done";
  readonly notified: Buffer[] = [];
  /** Notifications that block, until the test ends them. */
  readonly blocked: { readonly message: Buffer; readonly end: () => void }[] = [];

  notify(message: Uint8Array): ReturnType<FuseTransport["notify"]> {
    this.notified.push(Buffer.from(message));
    return this.notifyAnswer;
  }

  notifyBlocking(message: Uint8Array): Promise<void> {
    return new Promise((end) => this.blocked.push({ message: Buffer.from(message), end }));
  }

  prepareNotify(): void {}

  release(message: Buffer): void {
    this.released.push(message);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
  }

  close(): void {
    this.#events!.onEnd("closed here");
  }

  /** Delivers a message as it is; true if the server keeps its buffer. */
  deliver(message: Buffer): boolean {
    return this.#events!.onMessage(message);
  }

  /** Sends a request without waiting; returns its unique number. */
  send(name: keyof typeof opcode, fields: RequestFields = {}): number {
    const unique = fields.unique ?? this.#nextUnique;
    this.#nextUnique += 2;
    const body = fields.body ?? Buffer.alloc(0);
    const message = Buffer.alloc(inHeader.bytes + body.byteLength);
    message.writeUInt32LE(message.length, inHeader.length);
    message.writeUInt32LE(opcode[name], inHeader.opcode);
    message.writeBigUInt64LE(BigInt(unique), inHeader.unique);
    message.writeBigUInt64LE(BigInt(fields.node ?? 1), inHeader.node);
    message.writeUInt32LE(fields.uid ?? 0, inHeader.uid);
    message.writeUInt32LE(fields.task ?? 1000, inHeader.task);
    message.set(body, inHeader.bytes);
    const kept = this.deliver(message);
    // As the transport does: what was not kept is overwritten by the next message.
    if (!kept) message.fill(0xee);
    return unique;
  }

  /** Sends a request and waits for its reply. */
  async ask(name: keyof typeof opcode, fields: RequestFields = {}): Promise<ReceivedReply> {
    const unique = this.send(name, fields);
    await settle();
    const reply = this.replies.find((one) => one.unique === unique);
    if (reply === undefined) throw new Error(`${name} got no reply`);
    return reply;
  }
}

/** Lets all promises run that can. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** `u32(1)`, `u64(2)`, `name("x")`: joined to a request's arguments. */
export const bytes = {
  u32: (value: number): Buffer => {
    const buffer = Buffer.alloc(4);
    buffer.writeUInt32LE(value);
    return buffer;
  },
  u64: (value: number | bigint): Buffer => {
    const buffer = Buffer.alloc(8);
    buffer.writeBigUInt64LE(BigInt(value));
    return buffer;
  },
  name: (value: string): Buffer => Buffer.from(`${value}\0`, "latin1"),
  join: (...parts: Uint8Array[]): Buffer => Buffer.concat(parts),
};

export class HandClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  wallNs(): bigint {
    return BigInt(this.#nowMs) * 1_000_000n;
  }

  startTimer(delayMs: number, callback: () => void): Timer {
    const timer = { atMs: this.#nowMs + delayMs, callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  get timerCount(): number {
    return this.#timers.size;
  }

  /** Fires what is due, in order. */
  advance(byMs: number): void {
    const endMs = this.#nowMs + byMs;
    for (;;) {
      const next = [...this.#timers].filter((one) => one.atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = next.atMs;
      next.callback();
    }
    this.#nowMs = endMs;
  }
}

/** Keeps its lines for tests to look at. */
export class KeptLogger implements Logger {
  readonly lines: string[] = [];
  debug(): void {}
  info(): void {}
  warn(event: string): void {
    this.lines.push(event);
  }
  error(event: string): void {
    this.lines.push(event);
  }
  for(): Logger {
    return this;
  }
}
