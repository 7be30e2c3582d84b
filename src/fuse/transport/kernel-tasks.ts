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

  hasCapability(task: number, bit: number): boolean {
    const status = procFile(task, "status");
    return status === undefined || hasEffective(status, bit);
  },

  isInGroup(task: number, group: number): boolean {
    const status = procFile(task, "status");
    return status === undefined || hasGroup(status, group);
  },

  fileSizeMax(task: number): number {
    const limits = procFile(task, "limits");
    return limits === undefined ? Number.POSITIVE_INFINITY : fileSizeLimit(limits);
  },

  signalFileSize(task: number): void {
    try {
      if (task !== 0) process.kill(task, "SIGXFSZ");
    } catch {
      // It has ended, or is another user's: the error of the call says the same.
    }
  },
};

/** Undefined: the task has ended, is hidden, or is in another PID namespace (its number is 0). */
function procFile(task: number, name: "status" | "limits"): string | undefined {
  try {
    return task === 0 ? undefined : readFileSync(`/proc/${task}/${name}`, "latin1");
  } catch {
    return undefined;
  }
}

/** The soft RLIMIT_FSIZE of a limits file, in bytes. */
export function fileSizeLimit(limits: string): number {
  const match = /^Max file size\s+(\d+)\s/m.exec(limits);
  return match === null ? Number.POSITIVE_INFINITY : Number(match[1]);
}

/** Groups of a status file. */
export function hasGroup(status: string, group: number): boolean {
  const match = /^Groups:(.*)$/m.exec(status);
  return match === null || match[1]!.trim().split(" ").includes(String(group));
}

/** CapEff of a status file. */
export function hasEffective(status: string, bit: number): boolean {
  const match = /^CapEff:\s*([0-9a-f]+)$/m.exec(status);
  return match === null || (BigInt(`0x${match[1]}`) & (1n << BigInt(bit))) !== 0n;
}

/** SigPnd (the thread's) or ShdPnd (the process's) of a status file has SIGKILL. */
export function hasPendingKill(status: string): boolean {
  for (const match of status.matchAll(/^(?:SigPnd|ShdPnd):\s*([0-9a-f]+)$/gm)) {
    if ((BigInt(`0x${match[1]}`) & killBit) !== 0n) return true;
  }
  return false;
}
