/**
 * The end of a test's patience. A call that hangs in a mount blocks its whole process, timers and the runner's own
 * time-out included: so another process says what was waited for, and ends the mount, which gives the call an error.
 */
import { spawn } from "node:child_process";

/** For tests that do random things for a while: how long. */
export const randomSeconds = Number(process.env.BRINE_TEST_SECONDS) || undefined;

/** Longer than any step of the short tests takes on a busy machine, far below what a run as a whole may take. */
const patienceSeconds = process.env.BRINE_TEST_SIZE === "full" ? 7200 : 300 + (randomSeconds ?? 0);

const script = `
point=$1 pid=$2 log=$3 brine=$4 address=$5
sleep ${patienceSeconds}
echo "$point has been mounted for ${patienceSeconds} s: its test hangs, and the mount is ended. Its log ends with:"
tail -n 30 "$log"
timeout -s KILL 20 "$brine" waits "$address"
timeout -s KILL 20 "$brine" why "$point"
kill -KILL "$pid"
umount -f -l "$point"
`;

export interface WatchedMount {
  readonly point: string;
  readonly pid: number;
  readonly logFile: string;
  readonly brine: string;
  readonly address: string;
}

/** Ends the mount after the patience, unless the returned function is called before. Under the test runner only: a bench takes what it takes. */
export function limitPatience({ point, pid, logFile, brine, address }: WatchedMount): () => void {
  if (process.env.NODE_TEST_CONTEXT === undefined) return () => {};
  const words = ["-c", script, "patience", point, String(pid), logFile, brine, address];
  const watch = spawn("/bin/bash", words, { detached: true, stdio: ["ignore", "inherit", "inherit"] });
  watch.unref();
  return () => {
    if (watch.exitCode === null && watch.signalCode === null) process.kill(-watch.pid!, "SIGKILL");
  };
}
