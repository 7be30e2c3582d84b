/** Main thread's side of checkpoints: starts the worker when it is first needed, one checkpoint at a time. */
import { Worker } from "node:worker_threads";
import { DiskError } from "./disk.ts";

/** What the worker answers to a request. */
export type CheckpointAnswer = { done: true } | { done: false; code: string; message: string };

export class Checkpointer {
  readonly #path: string;
  #worker: Worker | undefined;
  #waiting: { resolve(): void; reject(error: Error): void } | undefined;
  #running: Promise<void> | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /** Everything committed before is durable when it resolves. Errors: DiskError. */
  checkpoint(): Promise<void> {
    if (this.#waiting !== undefined) throw new Error("a checkpoint is under way");
    const worker = this.#start();
    this.#running = new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      worker.ref(); // a process lives until its checkpoint is done, but not because it could make one
      worker.postMessage("checkpoint");
    });
    return this.#running;
  }

  /** Waits for the checkpoint under way, makes a last one, and ends the worker. */
  async close(): Promise<void> {
    await this.#running?.catch(() => {}); // its caller hears of it
    try {
      await this.checkpoint();
    } finally {
      await this.#worker?.terminate();
    }
  }

  #start(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(new URL("./sqlite-checkpoint-worker.ts", import.meta.url), { workerData: this.#path });
    worker.unref();
    worker.on("message", (answer: CheckpointAnswer) => {
      worker.unref();
      if (answer.done) this.#finish();
      else this.#finish(new DiskError(answer.code, "checkpoint", this.#path, new Error(answer.message)));
    });
    worker.on("error", (error) => {
      this.#worker = undefined;
      this.#finish(new DiskError("EIO", "checkpoint", this.#path, error));
    });
    worker.on("exit", () => {
      this.#worker = undefined;
      this.#finish(new DiskError("EIO", "checkpoint", this.#path));
    });
    this.#worker = worker;
    return worker;
  }

  #finish(error?: Error): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (error === undefined) waiting?.resolve();
    else waiting?.reject(error);
  }
}
