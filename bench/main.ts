/**
 * `npm run bench`: the figures of docs/measured.md. Starts a cluster of two servers on a memory disk (or --data DIR), mounts
 * it, works on the mount from processes of its own, and prints one line a figure. Absolute figures move with the machine.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { Cluster, type Mount, runProgram } from "../test/system/cluster.ts";

interface BenchOptions {
  readonly data: string;
  readonly only?: string;
  readonly tree?: string;
}

const mebibyte = 1 << 20;
const treePackage = "/usr/src/linux-source-6.1.tar.xz";

const program = new Command("bench")
  .description("Measure brinefs on this machine.")
  .option("--data <directory>", "parent of the servers' data", "/dev/shm")
  .option("--only <names>", "some of: write, read, random, small, untar, memory (comma-separated)")
  .option("--tree <archive>", "a plain .tar to unpack (default: the Linux tree of linux-source-6.1)")
  .parse();
const options = program.opts<BenchOptions>();

const undo: (() => void | Promise<void>)[] = [];
const context = { after: (one: () => void | Promise<void>) => void undo.push(one) };

/** Runs a Python script on the mount: what it measures is system calls, not Node. */
async function python(script: string, ...args: string[]): Promise<number[]> {
  const output = await runProgram("python3", ["-c", script, ...args], { timeoutMs: 1_800_000 });
  if (output.code !== 0) throw new Error(output.stderr);
  return output.stdout.trim().split(/\s+/).map(Number);
}

function print(name: string, value: number, unit: string): void {
  console.log(`${name.padEnd(58)} ${value >= 100 ? Math.round(value) : value.toFixed(2)} ${unit}`);
}

const sequentialWrite = `
import os,sys,time
piece=os.urandom(1<<20); f=os.open(sys.argv[1],os.O_WRONLY|os.O_CREAT|os.O_TRUNC); a=time.time()
for i in range(1024): os.write(f,piece)
os.fsync(f); print(1024/(time.time()-a))`;
const sequentialRead = `
import os,sys,time
f=os.open(sys.argv[1],os.O_RDONLY); a=time.time(); n=0
while True:
  b=os.read(f,1<<20)
  if not b: break
  n+=len(b)
assert n==1<<30; print(1024/(time.time()-a))`;
const randomRead = `
import os,sys,time,random,threading
f=os.open(sys.argv[1],os.O_RDONLY); count=int(sys.argv[2]); threads=int(sys.argv[3])
def work(seed):
  r=random.Random(seed)
  for i in range(count//threads): assert len(os.pread(f,4096,r.randrange(1<<18)<<12))==4096
ts=[threading.Thread(target=work,args=(s,)) for s in range(threads)]; a=time.time()
for t in ts: t.start()
for t in ts: t.join()
print(count/(time.time()-a))`;
const createSmall = `
import os,sys,time
d=sys.argv[1]; os.mkdir(d); b=os.urandom(4096); a=time.time()
for i in range(5000):
  f=os.open(f"{d}/{i}",os.O_WRONLY|os.O_CREAT|os.O_EXCL); os.write(f,b)
  if sys.argv[2]=="sync": os.fsync(f)
  os.close(f)
print(5000/(time.time()-a))`;

const wanted = (name: string) => options.only === undefined || options.only.split(",").includes(name);

async function measure(cluster: Cluster, mount: Mount): Promise<void> {
  const big = join(mount.point, "big");
  if (wanted("write") || wanted("read") || wanted("random")) {
    print("sequential write, 1 GiB in 1 MiB calls, fsync", (await python(sequentialWrite, big))[0]!, "MiB/s");
  }
  if (wanted("read")) print("sequential read, 1 GiB in 1 MiB calls", (await python(sequentialRead, big))[0]!, "MiB/s");
  if (wanted("random")) {
    print("random read 4 KiB, 1 at once", (await python(randomRead, big, "20000", "1"))[0]!, "/s");
    print("random read 4 KiB, 16 at once", (await python(randomRead, big, "40000", "16"))[0]!, "/s");
  }
  rmSync(big, { force: true });
  if (wanted("small")) {
    print(
      "create + write 4 KiB + fsync + close, 5,000 files",
      (await python(createSmall, `${mount.point}/a`, "sync"))[0]!,
      "/s",
    );
  }
  if (wanted("untar")) await untar(mount);
  if (wanted("memory")) printMemory(cluster, mount);
}

async function untar(mount: Mount): Promise<void> {
  const archive = options.tree ?? (await linuxTree());
  mkdirSync(join(mount.point, "tree"));
  const startedMs = performance.now();
  execFileSync("tar", ["xf", archive, "-C", join(mount.point, "tree")]);
  const seconds = (performance.now() - startedMs) / 1000;
  const entries = Number(execFileSync("/bin/sh", ["-c", `tar tf ${archive} | wc -l`]).toString());
  print(`untar, ${entries} entries`, seconds, "s");
  print("untar, entries", entries / seconds, "/s");
}

async function linuxTree(): Promise<string> {
  if (!existsSync(treePackage)) throw new Error(`${treePackage} is missing: install linux-source-6.1, or give --tree`);
  const archive = join(scratch, "linux.tar");
  execFileSync("/bin/sh", ["-c", `xz -dc ${treePackage} > ${archive}`]);
  return archive;
}

function printMemory(cluster: Cluster, mount: Mount): void {
  const resident = (pid: number) =>
    (Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]) * 1024) / mebibyte;
  const peak = (pid: number) =>
    (Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]) * 1024) / mebibyte;
  const processes: [string, number][] = [["client", mount.program.pid]];
  for (const [index, server] of cluster.servers.entries()) processes.push([`server ${index + 1}`, server.pid]);
  for (const [name, pid] of processes) {
    print(`memory of ${name}, now`, resident(pid), "MiB");
    print(`memory of ${name}, most`, peak(pid), "MiB");
  }
}

const scratch = mkdtempSync(join(options.data, "brine-bench-"));
undo.push(() => rmSync(scratch, { recursive: true, force: true }));
try {
  const memory = Math.round(totalmem() / 1024 ** 3);
  console.log(
    `${cpus().length} × ${cpus()[0]?.model.trim()}, ${memory} GiB, Linux ${release()}, Node ${process.version}, data in ${options.data}`,
  );
  const cluster = await Cluster.start(context, { directory: scratch });
  await measure(cluster, await cluster.mount("mnt"));
} finally {
  for (const one of undo.reverse()) await one();
}
