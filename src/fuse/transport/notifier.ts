/**
 * Notifications that may block, on threads of their own: not on the event loop, which has to answer the requests that the
 * kernel waits for meanwhile, and not on libuv's pool, where a few of them would hold up everything else. There are a few
 * threads, so that one that is stuck does not hold up the others' files.
 *
 * Uses worker_threads directly: it is a way out to the kernel.
 */
import { Worker } from "node:worker_threads";

const threadsMax = 4;
/** A thread that fails is started again; not for ever, if the machine has no memory for one. */
const failuresMax = 10;

interface Message {
  readonly bytes: Uint8Array;
  readonly done: () => void;
}

export class Notifier {
  readonly #descriptor: number;
  /** Waits for a thread. Bounded by whoever sends: one for each file that has pages. */
  readonly #queue: Message[] = [];
  readonly #idle: Worker[] = [];
  readonly #busy = new Map<Worker, Message>();
  #onQuiet: (() => void)[] = [];
  /** Not 0: the descriptor is, or is about to be, closed, and its number may become another file's. */
  readonly #closed = new Int32Array(new SharedArrayBuffer(4));
  #failures = 0;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** Starts the first thread, which takes some 30 ms. */
  prepare(): void {
    if (!this.#isClosed && this.#idle.length + this.#busy.size === 0) this.#idle.push(this.#start());
  }

  /** Resolves when the kernel is through with it, or `close` was called. */
  send(bytes: Uint8Array): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    return new Promise((done) => {
      this.#queue.push({ bytes, done });
      this.#next();
    });
  }

  /** Resolves when no thread is in the kernel. */
  async quiet(): Promise<void> {
    if (this.#busy.size > 0) await new Promise<void>((resolve) => this.#onQuiet.push(resolve));
  }

  /** No more is sent; what waits counts as done. */
  close(): void {
    Atomics.store(this.#closed, 0, 1);
    for (const { done } of this.#queue.splice(0)) done();
    for (const { done } of this.#busy.values()) done();
    for (const worker of [...this.#idle, ...this.#busy.keys()]) void worker.terminate();
  }

  get #isClosed(): boolean {
    return Atomics.load(this.#closed, 0) !== 0;
  }

  #next(): void {
    while (this.#queue.length > 0) {
      const worker = this.#idle.pop() ?? (this.#busy.size < threadsMax ? this.#start() : undefined);
      if (worker === undefined) return;
      const message = this.#queue.shift()!;
      this.#busy.set(worker, message);
      worker.postMessage(message.bytes);
    }
  }

  #start(): Worker {
    const worker = new Worker(new URL("./notify-worker.ts", import.meta.url), {
      workerData: { descriptor: this.#descriptor, closed: this.#closed },
    });
    worker.unref();
    worker.on("message", () => {
      this.#failures = 0;
      this.#idle.push(worker);
      this.#finished(worker);
    });
    // It could not be started. What it had was not sent: another thread sends it.
    worker.on("error", () => this.#failed(worker));
    return worker;
  }

  #failed(worker: Worker): void {
    const at = this.#idle.indexOf(worker);
    if (at >= 0) this.#idle.splice(at, 1);
    const message = this.#busy.get(worker);
    this.#busy.delete(worker);
    if (message === undefined || this.#isClosed) return;
    this.#queue.unshift(message);
    this.#failures += 1;
    if (this.#failures < failuresMax) this.#next();
  }

  #finished(worker: Worker): void {
    this.#busy.get(worker)?.done();
    this.#busy.delete(worker);
    this.#next();
    if (this.#busy.size > 0) return;
    const waiting = this.#onQuiet;
    this.#onQuiet = [];
    for (const resolve of waiting) resolve();
  }
}
