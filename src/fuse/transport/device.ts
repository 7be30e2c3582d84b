/**
 * The descriptor of /dev/fuse on the event loop.
 *
 * libuv can wait for a character device only if it takes it for a stream. `Pipe` is the class in Node's internals that
 * does so with any descriptor; a `net.Socket` on it with `onread` then hands out each read(2), which is exactly one
 * message, in a buffer of ours. `Pipe` is not a public interface: where it is missing, the descriptor is opened blocking
 * and read through the thread pool (about three times slower; one pool thread waits in read(2) all the time).
 *
 * This file uses fs, net and process directly: it is the way out to the kernel, as src/platform is for the rest.
 */
import { closeSync, constants, openSync, read, writeSync, writevSync } from "node:fs";
import { Socket } from "node:net";
import { availableParallelism } from "node:os";
import { BrineError } from "../../errors/brine-error.ts";
import { readNow } from "../../platform/libc.ts";
import { messageBytesMax } from "../protocol.ts";
import type { FuseTransport, FuseTransportEvents } from "../transport.ts";
import { BusyPolling, type Taken } from "./busy-polling.ts";
import { Notifier } from "./notifier.ts";

/** Buffers kept for reuse; more are given to the garbage collector. 16 MiB at most. */
const spareBuffersMax = 16;
/** Parts of a reply below this size are copied together: cheaper than writev(2) and its array of views. */
const joinBytesMax = 16 * 1024;
/** IOV_MAX is 1024, writev(2). */
const partsMax = 1000;

type PipeHandle = { open(descriptor: number): number | undefined };
type PipeConstructor = (new (type: number) => PipeHandle) & { readonly prototype: PipeHandle };

/** Node's internal class, or undefined where this version of Node does not give it out. */
function findPipe(): { Pipe: PipeConstructor; socketType: number } | undefined {
  try {
    const binding = (process as unknown as { binding(name: string): unknown }).binding("pipe_wrap") as {
      Pipe: PipeConstructor;
      constants: { SOCKET: number };
    };
    return { Pipe: binding.Pipe, socketType: binding.constants.SOCKET };
  } catch {
    return undefined;
  }
}

export interface FuseDevice extends FuseTransport {
  /** For the mount command, which passes it to the kernel. */
  readonly descriptor: number;
  /** `pipe` or `thread pool`. */
  readonly way: string;
  /** Resolves when no notification blocks in the kernel: only then does `close` really end the connection. */
  quiet(): Promise<void>;
}

/**
 * Opens /dev/fuse. Errors: BrineError `refused` if it is missing or not permitted. `usePipe: false` is for tests of the
 * fallback.
 */
export function openFuseDevice(options: { usePipe?: boolean } = {}): FuseDevice {
  const pipe = options.usePipe === false ? undefined : findPipe();
  const path = "/dev/fuse";
  let descriptor: number;
  try {
    descriptor = openSync(path, constants.O_RDWR | (pipe === undefined ? 0 : constants.O_NONBLOCK));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const missing = code === "ENOENT" || code === "ENODEV" || code === "ENXIO";
    throw new BrineError("refused", `can't open ${path}: ${missing ? "this machine has no FUSE" : code}`, {
      advice: missing
        ? "load the kernel module (modprobe fuse), or give the container the device (--device /dev/fuse)"
        : "run as root, or as an ordinary user with fusermount3 (apt-get install fuse3)",
      cause: error,
    });
  }
  return deviceOf(descriptor, pipe);
}

/** The same with a descriptor that somebody else has opened; `open` is told whether reading it must not block. */
export async function openFuseDeviceBy(
  open: (nonBlocking: boolean) => Promise<number>,
  options: { usePipe?: boolean } = {},
): Promise<FuseDevice> {
  const pipe = options.usePipe === false ? undefined : findPipe();
  return deviceOf(await open(pipe !== undefined), pipe);
}

function deviceOf(descriptor: number, pipe: ReturnType<typeof findPipe>): FuseDevice {
  if (pipe === undefined) return new ThreadPoolDevice(descriptor);
  return new PipeDevice(descriptor, pipe.Pipe, pipe.socketType);
}

/** What both ways share: buffers and replies. The event loop owns it. */
class Device {
  readonly descriptor: number;
  protected events: FuseTransportEvents | undefined;
  protected ended = false;
  readonly #spare: Buffer[] = [];
  readonly #joined = Buffer.allocUnsafeSlow(joinBytesMax);
  #notifier: Notifier | undefined;

  constructor(descriptor: number) {
    this.descriptor = descriptor;
  }

  release(message: Buffer): void {
    if (this.#spare.length === spareBuffersMax) return;
    this.#spare.push(Buffer.from(message.buffer, 0, message.buffer.byteLength));
  }

  protected takeBuffer(): Buffer {
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(messageBytesMax);
  }

  /** Writes one reply. Errors that mean "nobody waits" make it false; others are defects and thrown. */
  protected send(parts: readonly Uint8Array[]): boolean {
    try {
      if (parts.length === 1) {
        writeSync(this.descriptor, parts[0]!);
        return true;
      }
      const total = parts.reduce((sum, part) => sum + part.byteLength, 0);
      if (total <= joinBytesMax) writeSync(this.descriptor, this.#join(parts), 0, total);
      else if (parts.length <= partsMax) writevSync(this.descriptor, parts as Uint8Array[]);
      else writeSync(this.descriptor, Buffer.concat(parts, total));
      return true;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // ENOENT: interrupted. ENODEV, EPERM, ENOTCONN, ECONNABORTED: the connection has ended.
      if (["ENOENT", "ENODEV", "EPERM", "ENOTCONN", "ECONNABORTED"].includes(code ?? "")) return false;
      throw error;
    }
  }

  /** The descriptor's number is still ours. */
  protected get isOpen(): boolean {
    return !this.ended;
  }

  notify(message: Uint8Array): ReturnType<FuseTransport["notify"]> {
    if (!this.isOpen) return "ended";
    try {
      writeSync(this.descriptor, message);
      return "done";
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === "ENOENT") return "unknownNode";
      return code === "EINVAL" || code === "ENOSYS" ? "notSupported" : "ended";
    }
  }

  prepareNotify(): void {
    if (this.isOpen) this.#notifierThere().prepare();
  }

  notifyBlocking(message: Uint8Array): Promise<void> {
    return this.isOpen ? this.#notifierThere().send(message) : Promise.resolve();
  }

  async quiet(): Promise<void> {
    await this.#notifier?.quiet();
  }

  #notifierThere(): Notifier {
    this.#notifier ??= new Notifier(this.descriptor);
    return this.#notifier;
  }

  #join(parts: readonly Uint8Array[]): Buffer {
    let position = 0;
    for (const part of parts) {
      this.#joined.set(part, position);
      position += part.byteLength;
    }
    return this.#joined;
  }

  protected end(reason: string): void {
    if (this.ended) return;
    this.ended = true;
    this.#notifier?.close();
    this.events?.onEnd(reason);
  }
}

class PipeDevice extends Device implements FuseDevice {
  readonly way = "pipe";
  readonly #handle: PipeHandle;
  #socket: Socket | undefined;
  #buffer: Buffer;
  #paused = false;
  /** With one core, whoever asks can't run while we look for what it asks. */
  readonly #polling = availableParallelism() > 1 ? new BusyPolling() : undefined;

  constructor(descriptor: number, Pipe: PipeConstructor, socketType: number) {
    super(descriptor);
    this.#handle = new Pipe(socketType);
    this.#buffer = this.takeBuffer();
  }

  start(events: FuseTransportEvents): void {
    this.events = events;
    const failure = this.#handle.open(this.descriptor);
    if (failure) throw new BrineError("internal", `can't wait for /dev/fuse on the event loop: error ${failure}`);
    this.#socket = new Socket({
      handle: this.#handle,
      readable: true,
      writable: false,
      onread: { buffer: () => this.#buffer, callback: (count: number) => this.#onRead(count) },
    } as unknown as ConstructorParameters<typeof Socket>[0]);
    this.#socket.on("error", (error: NodeJS.ErrnoException) => this.end(endReason(error.code)));
    this.#socket.on("close", () => this.end("closed"));
    // With `onread` and a handle of its own, the socket reads only from the first resume on.
    this.#socket.resume();
  }

  #onRead(count: number): boolean {
    this.#onMessage(count);
    this.#polling?.serveOn(this.#takeNext);
    return !this.#paused;
  }

  #onMessage(count: number): void {
    if (this.events!.onMessage(this.#buffer.subarray(0, count))) this.#buffer = this.takeBuffer();
    this.#polling?.afterMessage();
  }

  /** Errors are left to the event loop, which meets them again. */
  readonly #takeNext = (): Taken => {
    if (this.#paused || !this.isOpen || this.events!.isWaiting()) return "stop";
    const count = readNow(this.descriptor, this.#buffer);
    if (count <= 0) return "nothing";
    this.#onMessage(count);
    return "message";
  };

  /** `destroyed` is true from the very call that closes the descriptor: its number may be another file's by now. */
  protected override get isOpen(): boolean {
    return super.isOpen && this.#socket !== undefined && !this.#socket.destroyed;
  }

  reply(parts: readonly Uint8Array[]): boolean {
    return this.isOpen && this.send(parts);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    if (!this.ended) this.#socket?.resume();
  }

  close(): void {
    if (this.#socket === undefined) {
      if (!this.ended) closeSync(this.descriptor);
      this.ended = true;
      return;
    }
    this.#socket.destroy();
    this.end("closed here");
  }
}

class ThreadPoolDevice extends Device implements FuseDevice {
  readonly way = "thread pool";
  #paused = false;
  #reading = false;
  #closing = false;

  start(events: FuseTransportEvents): void {
    this.events = events;
    this.#readNext();
  }

  #readNext(): void {
    if (this.#reading || this.#paused || this.ended) return;
    this.#reading = true;
    const buffer = this.takeBuffer();
    read(this.descriptor, buffer, 0, buffer.length, null, (error, count) => {
      this.#reading = false;
      if (error === null) {
        if (this.#closing || !this.events!.onMessage(buffer.subarray(0, count))) this.release(buffer);
      } else {
        this.release(buffer);
        if (error.code !== "EINTR" && error.code !== "EAGAIN" && error.code !== "ENOENT") {
          closeSync(this.descriptor);
          this.end(endReason(error.code));
          return;
        }
      }
      if (this.#closing) closeSync(this.descriptor);
      else this.#readNext();
    });
  }

  reply(parts: readonly Uint8Array[]): boolean {
    return this.ended ? false : this.send(parts);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#readNext();
  }

  /** The descriptor is closed when the read under way has returned: the number must not become another file's before. */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    if (!this.#reading && !this.ended) closeSync(this.descriptor);
    this.end("closed here");
  }
}

function endReason(code: string | undefined): string {
  return code === "ENODEV" ? "unmounted" : `reading /dev/fuse failed: ${code ?? "unknown error"}`;
}
