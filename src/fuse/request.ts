/**
 * One request of the kernel: its header, its arguments, and whether it has been answered.
 *
 * The message lies in a buffer of the transport that is used again as soon as the request's handler has run up to its
 * first `await`. So handlers take their arguments before that; `takeData` keeps what must live longer.
 */
import type { StopSignal } from "../client/file-system.ts";
import { FileError } from "../errors/file-error.ts";
import { nameBytesMax } from "../namespace/model.ts";
import { inHeader } from "./protocol.ts";
import { copyBytesMax, type ScratchBuffers } from "./scratch-buffers.ts";

/** A message that is not what its opcode says: a defect here or a protocol that is not known. */
export class MalformedRequest extends Error {
  constructor(message: string) {
    super(message);
    this.name = "MalformedRequest";
  }
}

/** The last whole second of the year 2261: nanoseconds since 1970 are kept in 64 bits, which end some weeks later. */
const timeSecondsMax = 9_214_646_399n;

/** Of one request: an AbortController for each would cost more than most requests do. */
class Stop implements StopSignal {
  aborted = false;
  #listeners: (() => void)[] | undefined;

  addEventListener(_type: "abort", listener: () => void): void {
    this.#listeners ??= [];
    this.#listeners.push(listener);
  }

  removeEventListener(_type: "abort", listener: () => void): void {
    this.#listeners = this.#listeners?.filter((one) => one !== listener);
  }

  /** Idempotent. */
  stop(): void {
    if (this.aborted) return;
    this.aborted = true;
    for (const listener of this.#listeners ?? []) listener();
    this.#listeners = undefined;
  }
}

export class Request {
  readonly opcode: number;
  readonly uniqueLow: number;
  readonly uniqueHigh: number;
  /** FUSE node id; NaN if it is none that brinefs gives out. */
  readonly node: number;
  readonly uid: number;
  readonly gid: number;
  /** Thread that waits for the answer (a tid); 0 if the kernel itself asks, or a thread that this process can't see. */
  readonly task: number;
  /** The kernel has its answer, or never wants one. Set by `Replies` only. */
  answered = false;
  /** The message's buffer must not be used again until the request has finished. */
  keepsMessage = false;
  /** Goes back when the request has finished. */
  scratch: Buffer | undefined;
  /** Any signal ends the wait, not only SIGKILL: the handler answers when the request is aborted. */
  endsOnSignal = false;
  /** Bytes that the request holds in memory while it is under way. */
  heldBytes = 0;
  readonly message: Buffer;
  readonly #stop = new Stop();

  /** Throws MalformedRequest unless `message` is one whole message. */
  constructor(message: Buffer) {
    if (message.length < inHeader.bytes || message.readUInt32LE(inHeader.length) !== message.length) {
      throw new MalformedRequest(`a message of ${message.length} bytes with a wrong length`);
    }
    this.message = message;
    this.opcode = message.readUInt32LE(inHeader.opcode);
    this.uniqueLow = message.readUInt32LE(inHeader.unique);
    this.uniqueHigh = message.readUInt32LE(inHeader.unique + 4);
    this.node = readNumber(message, inHeader.node) ?? Number.NaN;
    this.uid = message.readUInt32LE(inHeader.uid);
    this.gid = message.readUInt32LE(inHeader.gid);
    this.task = message.readUInt32LE(inHeader.task);
  }

  /** Identifies the request among those under way. */
  get key(): number {
    return this.uniqueHigh * 0x1_0000_0000 + this.uniqueLow;
  }

  /** Aborted when the task that waits is being killed (or gets a signal: `endsOnSignal`), or the connection has ended. */
  get signal(): StopSignal {
    return this.#stop;
  }

  abort(): void {
    this.#stop.stop();
  }

  /** Throws MalformedRequest unless the arguments' structure is there. */
  expect(structureBytes: number): void {
    if (this.message.length < inHeader.bytes + structureBytes) {
      throw new MalformedRequest(`${this.message.length} bytes where ${inHeader.bytes + structureBytes} must be`);
    }
  }

  u32(offset: number): number {
    return this.message.readUInt32LE(inHeader.bytes + offset);
  }

  /** An unsigned 64-bit field, or undefined if it is 2^53 or more. */
  u64(offset: number): number | undefined {
    return readNumber(this.message, inHeader.bytes + offset);
  }

  /** An unsigned 64-bit field that is no number but a name: an owner of locks. */
  u64Exact(offset: number): bigint {
    return this.message.readBigUInt64LE(inHeader.bytes + offset);
  }

  /** Signed seconds and nanoseconds as nanoseconds since 1970. What can't be kept becomes the nearest that can. */
  timeNs(secondsOffset: number, nanosecondsOffset: number): bigint {
    const seconds = this.message.readBigInt64LE(inHeader.bytes + secondsOffset);
    if (seconds >= timeSecondsMax) return timeSecondsMax * 1_000_000_000n;
    if (seconds < -timeSecondsMax) return -timeSecondsMax * 1_000_000_000n;
    return seconds * 1_000_000_000n + BigInt(this.u32(nanosecondsOffset));
  }

  /** The name behind a structure, one character a byte. Throws FileError ENAMETOOLONG above NAME_MAX. */
  name(structureBytes: number): string {
    return this.#string(inHeader.bytes + structureBytes, nameBytesMax);
  }

  /** The name behind a structure and a second string behind it: another name, or what `secondBytesMax` bounds. */
  names(structureBytes: number, secondBytesMax = nameBytesMax): [string, string] {
    const first = this.name(structureBytes);
    return [first, this.#string(inHeader.bytes + structureBytes + first.length + 1, secondBytesMax)];
  }

  /** The kernel itself only refuses names above 1024 bytes (FUSE_NAME_MAX). */
  #string(start: number, bytesMax: number): string {
    const end = this.message.indexOf(0, start);
    if (end < 0) throw new MalformedRequest("a name without its end");
    if (end - start > bytesMax) throw new FileError("ENAMETOOLONG");
    return this.message.toString("latin1", start, end);
  }

  /** A copy of the `size` bytes behind a structure. */
  copyData(structureBytes: number, size: number): Buffer {
    return Buffer.from(this.#data(structureBytes, size));
  }

  /** The `size` bytes behind a structure, to be used until the request has finished. Small ones are copied to `scratch`. */
  takeData(structureBytes: number, size: number, scratch: ScratchBuffers): Buffer {
    const view = this.#data(structureBytes, size);
    if (size >= copyBytesMax) {
      this.keepsMessage = true;
      this.heldBytes = this.message.buffer.byteLength;
      return view;
    }
    this.heldBytes = size;
    this.scratch = scratch.take();
    if (this.scratch === undefined) return Buffer.from(view);
    view.copy(this.scratch);
    return this.scratch.subarray(0, size);
  }

  #data(structureBytes: number, size: number): Buffer {
    const start = inHeader.bytes + structureBytes;
    if (start + size > this.message.length) throw new MalformedRequest(`${size} bytes of data are not all there`);
    return this.message.subarray(start, start + size);
  }
}

function readNumber(message: Buffer, offset: number): number | undefined {
  const high = message.readUInt32LE(offset + 4);
  return high > 0x1f_ffff ? undefined : high * 0x1_0000_0000 + message.readUInt32LE(offset);
}
