/**
 * The inode number of a path, asked of the kernel by a child that can be killed: on a mount that hangs, lstat(2) hangs too,
 * and in this process it would take a thread with it.
 *
 * Uses child_process directly, like mount-points.ts: it is a way out to the kernel.
 */
import { execFile } from "node:child_process";

const timeoutMs = 2_000;

/** The number; `missing` if there is nothing at the path; `hangs` if the kernel had no answer in time. */
export function inodeOfPath(path: string): Promise<number | "missing" | "hangs"> {
  return new Promise((resolve) => {
    const child = execFile("stat", ["--format=%i", "--", path], (error, output) => {
      clearTimeout(timer);
      resolve(error === null ? Number(output.trim()) : "missing");
    });
    // Its end is not waited for: if another process looks up the same name, it can't be killed before that has an answer.
    const timer = setTimeout(() => {
      resolve("hangs");
      child.kill("SIGKILL");
      child.stdout?.destroy();
      child.stderr?.destroy();
      child.unref();
    }, timeoutMs);
  });
}
