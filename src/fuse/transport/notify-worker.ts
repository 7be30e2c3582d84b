/**
 * Runs in a worker thread: writes notifications to /dev/fuse, which may block for as long as the kernel likes. Answers
 * each with an empty message when it is through.
 */
import { writeSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";

const { descriptor, closed } = workerData as { descriptor: number; closed: Int32Array };

parentPort!.on("message", (message: Uint8Array) => {
  try {
    if (Atomics.load(closed, 0) === 0) writeSync(descriptor, message);
  } catch {
    // ENOENT: the kernel doesn't know the node, and so has no pages of it. ENODEV and others: the connection has ended.
  }
  parentPort!.postMessage(undefined);
});
