/** The figures, one after the other in the order in which they are printed: what is done, how it is timed, what it must reach. */
import { join } from "node:path";
import {
  freshDirectory,
  type Memory,
  measureShell,
  memoryOf,
  type Place,
  timed,
  timePython,
  timeShell,
} from "./environment.ts";
import { gitRepository, repositoryFiles, smallTree, smallTreeFiles, wholeTree, wholeTreeEntries } from "./input.ts";
import { randomAccess } from "./random-access.ts";

export interface Figure {
  /** `npm run bench -- NAME` measures it alone. */
  readonly name: string;
  readonly what: string;
  readonly unit: "s" | "/s" | "MB/s" | "ms" | "MiB";
  /** What section "measured against" of the design asks for: at most for s, ms and MiB, else at least. */
  readonly target?: number;
  /** A local directory can be measured, too; `disk`: only a real disk is a fair comparison. */
  readonly local: "memory" | "disk" | "none";
  /** One measurement, in the unit; `note` is printed behind it. */
  measure(place: Place): Promise<{ value: number; note?: string }>;
}

const fileCount = 5_000;
const largeMebibytes = 1_024;

async function filledDirectory(place: Place): Promise<string> {
  const directory = freshDirectory(place);
  await timePython("create", place, directory, fileCount);
  return directory;
}

async function remove(directory: string): Promise<void> {
  await timeShell(`rm -rf ${directory}`);
}

/** A figure that works.py measures in a directory with 5,000 files of 4 KiB. */
function onFiles(part: string, options: { cold: boolean }): Figure["measure"] {
  return async (place) => {
    const directory = await filledDirectory(place);
    if (options.cold) await place.makeCold();
    else await timePython(part, place, directory, fileCount);
    const [value] = await timePython(part, place, directory, fileCount);
    await remove(directory);
    return { value: value! };
  };
}

function changingFiles(part: string): Figure["measure"] {
  return async (place) => {
    const directory = await filledDirectory(place);
    const [value] = await timePython(part, place, directory, fileCount);
    await remove(directory);
    return { value: value! };
  };
}

function untar(archive: () => Promise<string>): Figure["measure"] {
  return async (place) => {
    const input = await archive();
    const directory = freshDirectory(place);
    const value = await measureShell(place, `tar xf ${input} -C ${directory}; ${place.syncCommand}`);
    await remove(directory);
    return { value };
  };
}

async function unpacked(place: Place, archive: () => Promise<string> = smallTree): Promise<string> {
  const directory = freshDirectory(place);
  await timeShell(`tar xf ${await archive()} -C ${directory}; ${place.syncCommand}`);
  return directory;
}

function removing(archive: () => Promise<string>, options: { cold: boolean }): Figure["measure"] {
  return async (place) => {
    const directory = await unpacked(place, archive);
    if (options.cold) await place.makeCold();
    return { value: await measureShell(place, `rm -rf ${directory}; ${place.syncCommand}`) };
  };
}

function grep(options: { cold: boolean }): Figure["measure"] {
  return async (place) => {
    const directory = await unpacked(place);
    const command = `! grep -r xyzzy_not_there ${directory}`;
    if (options.cold) await place.makeCold();
    else await timeShell(command);
    const value = await measureShell(place, command);
    await remove(directory);
    return { value };
  };
}

function creatingSynced(processes: number): Figure["measure"] {
  return async (place) => {
    const directory = freshDirectory(place);
    const [value] = await timePython("createSynced", place, directory, 2_000, processes);
    await remove(directory);
    return { value: value! };
  };
}

function handingOver(kind: "data" | "names"): Figure["measure"] {
  return async (place) => {
    const directory = freshDirectory(place);
    const there = join(await place.other!(), directory.slice(place.root.length));
    const [median, high] = await timePython("handOver", place, directory, there, kind, 1_000);
    await remove(directory);
    return { value: median!, note: `99 % ≤ ${high!.toFixed(2)} ms` };
  };
}

/** Both mounts hold the leases; a change on one is seen on the other only when the leases of both are known again. */
async function takeOver(place: Place): Promise<{ value: number }> {
  const directory = await filledDirectory(place);
  const there = join(await place.other!(), directory.slice(place.root.length));
  await timePython("stat", place, there, fileCount);
  const startedMs = performance.now();
  await timed(place, () => {
    return Promise.all([place.restartLeader!(), timeShell(`mkdir ${there}/later; test -d ${directory}/later`)]);
  });
  const value = performance.now() - startedMs;
  await remove(directory);
  return { value };
}

export const figures: readonly Figure[] = [
  {
    name: "untar-small",
    what: `untar of ${smallTreeFiles} files of the Linux tree, fsync of the root`,
    unit: "s",
    target: 0.9,
    local: "memory",
    measure: untar(smallTree),
  },
  {
    name: "untar-tree",
    what: `untar of the whole Linux tree, ${wholeTreeEntries} entries, fsync of the root`,
    unit: "s",
    target: 20,
    local: "memory",
    measure: untar(wholeTree),
  },
  {
    name: "create",
    what: "create + write 4 KiB + close, fsync of the root at the end",
    unit: "/s",
    target: 8_000,
    local: "memory",
    measure: async (place) => {
      const directory = freshDirectory(place);
      const [value] = await timePython("create", place, directory, fileCount);
      await remove(directory);
      return { value: value! };
    },
  },
  {
    name: "create-fsync-1",
    what: "create + write 4 KiB + fsync + close, one process",
    unit: "/s",
    target: 3_000,
    local: "memory",
    measure: creatingSynced(1),
  },
  {
    name: "create-fsync-4",
    what: "create + write 4 KiB + fsync + close, four processes",
    unit: "/s",
    target: 6_000,
    local: "memory",
    measure: creatingSynced(4),
  },
  {
    name: "rename",
    what: "rename, fsync of the root at the end",
    unit: "/s",
    target: 15_000,
    local: "memory",
    measure: changingFiles("rename"),
  },
  {
    name: "unlink",
    what: "unlink, fsync of the root at the end",
    unit: "/s",
    target: 15_000,
    local: "memory",
    measure: changingFiles("unlink"),
  },
  {
    name: "remove-tree",
    what: `rm -rf of ${smallTreeFiles} files, fsync of the root`,
    unit: "s",
    target: 0.2,
    local: "memory",
    measure: removing(smallTree, { cold: false }),
  },
  {
    name: "remove-tree-cold",
    what: "the same, cold",
    unit: "s",
    local: "none",
    measure: removing(smallTree, { cold: true }),
  },
  {
    name: "remove-tree-elsewhere",
    what: "the same, in a second mount, while the first has the leases",
    unit: "s",
    local: "none",
    measure: async (place) => {
      const directory = await unpacked(place);
      const there = join(await place.other!(), directory.slice(place.root.length));
      return { value: await measureShell(place, `rm -rf ${there}; ${place.syncCommand}`) };
    },
  },
  {
    name: "remove-whole-tree",
    what: `rm -rf of the whole Linux tree, ${wholeTreeEntries} entries, cold, fsync of the root`,
    unit: "s",
    local: "memory",
    measure: removing(wholeTree, { cold: true }),
  },
  {
    name: "stat-cold",
    what: "stat, cold",
    unit: "/s",
    target: 25_000,
    local: "none",
    measure: onFiles("stat", { cold: true }),
  },
  { name: "stat-warm", what: "stat, warm", unit: "/s", local: "memory", measure: onFiles("stat", { cold: false }) },
  {
    name: "open-cold",
    what: "open, read 4 KiB, close, cold",
    unit: "/s",
    target: 6_000,
    local: "none",
    measure: onFiles("open", { cold: true }),
  },
  {
    name: "open-warm",
    what: "open, read 4 KiB, close, warm",
    unit: "/s",
    target: 20_000,
    local: "memory",
    measure: onFiles("open", { cold: false }),
  },
  {
    name: "grep-cold",
    what: `grep -r in ${smallTreeFiles} files, cold`,
    unit: "s",
    target: 0.7,
    local: "none",
    measure: grep({ cold: true }),
  },
  {
    name: "grep-warm",
    what: `grep -r in ${smallTreeFiles} files, warm`,
    unit: "s",
    target: 0.2,
    local: "memory",
    measure: grep({ cold: false }),
  },
  {
    name: "git-clone",
    what: `git clone of a local repository of ${repositoryFiles} files, fsync of the root (at most twice the local disk)`,
    unit: "s",
    local: "disk",
    measure: async (place) => {
      const repository = await gitRepository();
      const directory = freshDirectory(place);
      const clone = `git -c core.hooksPath=/dev/null clone -q --no-hardlinks ${repository} ${directory}/clone`;
      const value = await measureShell(place, `${clone}; ${place.syncCommand}`);
      await remove(directory);
      return { value };
    },
  },
  {
    name: "write",
    what: "sequential write, 1 GiB in calls of 1 MiB, fsync",
    unit: "MB/s",
    target: 450,
    local: "memory",
    measure: async (place) => {
      const path = join(place.root, "large");
      const [value] = await timePython("write", place, path, largeMebibytes);
      await remove(path);
      return { value: value! };
    },
  },
  {
    name: "read",
    what: "sequential read, 1 GiB in calls of 1 MiB, cold",
    unit: "MB/s",
    target: 1_000,
    local: "none",
    measure: async (place) => {
      const path = join(place.root, "large");
      await timePython("write", place, path, largeMebibytes);
      await place.makeCold();
      const [value] = await timePython("read", place, path, largeMebibytes);
      await remove(path);
      return { value: value! };
    },
  },
  ...randomAccess,
  {
    name: "hand-over-data",
    what: "a file's lease from mount to mount, with one dirty block",
    unit: "ms",
    target: 1,
    local: "none",
    measure: handingOver("data"),
  },
  {
    name: "hand-over-names",
    what: "a directory's lease from mount to mount, with one new file",
    unit: "ms",
    target: 1,
    local: "none",
    measure: handingOver("names"),
  },
  {
    name: "hand-over-busy",
    what: "unlink of a file that another mount made last, in a second of creates and overwrites by turns",
    unit: "ms",
    local: "none",
    measure: async (place) => {
      const directory = freshDirectory(place);
      const there = join(await place.other!(), directory.slice(place.root.length));
      const [median, most] = await timePython("handOverBusy", place, directory, there, 5);
      await remove(directory);
      return { value: median!, note: `most ${most!.toFixed(1)} ms` };
    },
  },
  {
    name: "take-over",
    what: `kill -9 of the metadata server and its new start, until two mounts with leases on ${fileCount} files see a change`,
    unit: "ms",
    local: "none",
    measure: takeOver,
  },
  {
    name: "memory",
    what: "memory of two servers and a client, half a minute after the whole tree was unpacked",
    unit: "MiB",
    target: 600,
    local: "none",
    measure: async (place) => {
      const directory = freshDirectory(place);
      await timeShell(`tar xf ${await wholeTree()} -C ${directory}; ${place.syncCommand}`);
      const sumOf = (processes: readonly Memory[]) => processes.reduce((sum, one) => sum + one.mebibytes, 0);
      const atOnce = sumOf(memoryOf(place));
      await new Promise((resolve) => setTimeout(resolve, 30_000));
      const processes = memoryOf(place);
      await remove(directory);
      const note = processes.map((one) => `${one.role} ${one.mebibytes.toFixed(0)}, most ${one.most.toFixed(0)}`);
      return { value: sumOf(processes), note: `at once ${atOnce.toFixed(0)}; ${note.join("; ")}` };
    },
  },
];
