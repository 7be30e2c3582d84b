/** Runs in a worker thread: writes notifications to /dev/fuse, which may block for as long as the kernel likes. */
import { writeSync } from "node:fs";
import { parentPort } from "node:worker_threads";

parentPort!.on("message", ({ descriptor, message }: { descriptor: number; message: Uint8Array }) => {
  try {
    writeSync(descriptor, message);
  } catch {
    // ENOENT: the kernel doesn't know the node, and so has no pages of it. ENODEV and others: the connection has ended.
  }
  parentPort!.postMessage(undefined);
});
