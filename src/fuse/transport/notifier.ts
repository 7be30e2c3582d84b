/**
 * Notifications that may block, one after the other, on a thread of their own: not on the event loop, which has to answer
 * the requests that the kernel waits for meanwhile, and not on libuv's pool, where a few of them would hold up everything
 * else.
 */
import { Worker } from "node:worker_threads";

export class Notifier {
  readonly #descriptor: number;
  readonly #queue: { readonly message: Uint8Array; readonly done: () => void }[] = [];
  #worker: Worker | undefined;
  #busy = false;
  #closed = false;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
  }

  /** Resolves when the kernel has taken it, or the connection has ended. The queue is bounded by the leases that leave. */
  send(message: Uint8Array): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return new Promise((done) => {
      this.#queue.push({ message, done });
      this.#next();
    });
  }

  /** No more is sent; what waits counts as done. */
  close(): void {
    this.#closed = true;
    for (const { done } of this.#queue.splice(0)) done();
    void this.#worker?.terminate();
  }

  #next(): void {
    const head = this.#queue[0];
    if (this.#busy || head === undefined) return;
    this.#busy = true;
    this.#start().postMessage({ descriptor: this.#descriptor, message: head.message });
  }

  #start(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL("./notify-worker.ts", import.meta.url));
    worker.unref();
    worker.on("message", () => {
      this.#busy = false;
      this.#queue.shift()?.done();
      this.#next();
    });
    worker.on("error", () => {
      // The next one starts a new thread; this one was not sent, and its pages go with the lease's end at the latest.
      this.#worker = undefined;
      this.#busy = false;
      this.#queue.shift()?.done();
      this.#next();
    });
    this.#worker = worker;
    return worker;
  }
}
