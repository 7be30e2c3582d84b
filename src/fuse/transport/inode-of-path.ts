/**
 * The inode number of a path, asked of the kernel by a child that can be killed: on a mount that hangs, lstat(2) hangs too,
 * and in this process it would take a thread with it.
 *
 * Uses child_process directly, like mount-points.ts: it is a way out to the kernel.
 */
import { execFile } from "node:child_process";
import type { Clock } from "../../platform/clock.ts";

const timeoutMs = 2_000;

/** The number; `missing` if there is nothing at the path; `hangs` if the kernel had no answer in time. */
export function inodeOfPath(path: string, clock: Clock): Promise<number | "missing" | "hangs"> {
  return new Promise((resolve) => {
    const child = execFile("stat", ["--format=%i", "--", path], (error, output) => {
      timer.cancel();
      resolve(error === null ? Number(output.trim()) : "missing");
    });
    // Its end is not waited for: if another process looks up the same name, it can't be killed before that has an answer.
    const timer = clock.startTimer(timeoutMs, () => {
      resolve("hangs");
      child.kill("SIGKILL");
      child.stdout?.destroy();
      child.stderr?.destroy();
      child.unref();
    });
  });
}
