/** Starts watchers (see watcher.py) and keeps what they saw. */
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Context, root, startPython } from "./cluster.ts";

export interface Observation {
  readonly startSeconds: number;
  readonly file: number;
  readonly what: string;
  /** The version that was seen, or the name of the error. */
  readonly seen: number | string;
}

export interface Watch {
  readonly observations: readonly Observation[];
  /** The version that was seen last; 0 before the first look, or where the last one failed. */
  newest(): number;
  /** Empty, or what it printed when it met something impossible. A watcher that the kernel ended (SIGBUS) has said nothing. */
  defect(): string;
}

export function watch(context: Context, way: string, directory: string, files: number): Watch {
  const { child } = startPython(context, [join(root, "test/system/watcher.py"), way, directory, String(files)]);
  const observations: Observation[] = [];
  createInterface({ input: child.stdout! }).on("line", (line) => {
    const [start, file, what, seen] = line.split(" ") as [string, string, string, string];
    observations.push({
      startSeconds: Number(start),
      file: Number(file),
      what,
      seen: /^\d+$/.test(seen) ? Number(seen) : seen,
    });
  });
  const newest = () => {
    const last = observations.at(-1)?.seen;
    return typeof last === "number" ? last : 0;
  };
  let complaint = "";
  child.stderr!.on("data", (bytes: Buffer) => (complaint += bytes.toString("latin1")));
  return { observations, newest, defect: () => complaint };
}
