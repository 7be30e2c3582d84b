/** Random reads and writes of 4 KiB, by fio: one at a time and 16 at once, as the peers are measured. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Place, timed, timePython, timeShell } from "./environment.ts";
import type { Figure } from "./figures.ts";

const run = promisify(execFile);
const fileMebibytes = 1_024;

interface Access {
  readonly kind: "randread" | "randwrite";
  readonly jobs: number;
  /** Over all jobs. Enough for some seconds at the target's rate. */
  readonly operations: number;
  readonly direct: boolean;
  readonly extra: string;
}

/** Operations a second over the whole time, the fsync at the end included. */
async function fio(place: Place, { kind, jobs, operations, direct, extra }: Access): Promise<{ value: number }> {
  const path = join(place.root, "random");
  await timePython("write", place, path, fileMebibytes);
  const list =
    `--name=x --filename=${path} --size=${fileMebibytes}m --rw=${kind} --bs=4k --ioengine=psync --direct=${direct ? 1 : 0} ` +
    `--numjobs=${jobs} --io_size=${Math.ceil(operations / jobs) * 4}k --thread --group_reporting --norandommap --randrepeat=1 ` +
    `--allow_file_create=0 --fallocate=none --output-format=json ${extra}`;
  const { stdout } = await timed(place, () => run("fio", list.trim().split(/\s+/), { timeout: 600_000 }));
  const job = JSON.parse(stdout.slice(stdout.indexOf("{"))).jobs[0];
  const { total_ios: done, runtime } = kind === "randread" ? job.read : job.write;
  // job_runtime is the sum over all jobs and has the last fsync in it, runtime is that of the longest one and has not.
  const seconds = Math.max(job.job_runtime / jobs, runtime) / 1_000;
  await timeShell(`rm ${path}`);
  return { value: done / seconds };
}

function access(name: string, what: string, target: number, options: Access): Figure {
  return { name, what, unit: "/s", target, local: "memory", measure: (place) => fio(place, options) };
}

const read = { kind: "randread", direct: true, extra: "" } as const;
const write = { kind: "randwrite", direct: true, extra: "--end_fsync=1" } as const;
const synced = { kind: "randwrite", direct: false, extra: "--fsync=1" } as const;
const dataSynced = { kind: "randwrite", direct: false, extra: "--fdatasync=1" } as const;

export const randomAccess: readonly Figure[] = [
  access("random-read-1", "random read 4 KiB direct, 1 at once", 20_000, { ...read, jobs: 1, operations: 40_000 }),
  access("random-read-16", "random read 4 KiB direct, 16 at once", 35_000, { ...read, jobs: 16, operations: 100_000 }),
  access("random-write-1", "random write 4 KiB direct, 1 at once, fsync at the end", 20_000, {
    ...write,
    jobs: 1,
    operations: 40_000,
  }),
  access("random-write-16", "random write 4 KiB direct, 16 at once, fsync at the end", 30_000, {
    ...write,
    jobs: 16,
    operations: 60_000,
  }),
  access("write-fsync-1", "write 4 KiB + fsync each, 1 at once", 4_000, { ...synced, jobs: 1, operations: 8_000 }),
  access("write-fdatasync-1", "write 4 KiB + fdatasync each, 1 at once", 4_000, {
    ...dataSynced,
    jobs: 1,
    operations: 8_000,
  }),
  access("write-fsync-16", "write 4 KiB + fsync each, 16 at once", 12_000, { ...synced, jobs: 16, operations: 24_000 }),
];
