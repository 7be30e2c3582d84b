/** What /proc says about the tasks that wait for this mount. Uses fs directly: it is a way out to the kernel. */
import { readFileSync } from "node:fs";
import type { Tasks } from "../interrupts.ts";

/** Bit of signal 9 in the masks of proc(5). */
const killBit = 1n << 8n;

export const kernelTasks: Tasks = {
  isEnding(task: number): boolean {
    try {
      // procfs answers from memory: this does not block.
      return hasPendingKill(readFileSync(`/proc/${task}/status`, "latin1"));
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      return code === "ENOENT" || code === "ESRCH";
    }
  },
};

/** SigPnd (the thread's) or ShdPnd (the process's) of a status file has SIGKILL. */
export function hasPendingKill(status: string): boolean {
  for (const match of status.matchAll(/^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)$/gm)) {
    if ((BigInt(`0x${match[1]}`) & killBit) !== 0n) return true;
  }
  return false;
}
