/**
 * What the disk under a directory really does, measured with a file of its own that is removed again. How each figure is
 * taken:
 *
 * - sync: write 4 KiB, fdatasync, again and again at the end of the file: what each commit of a server costs.
 * - sequential: the file is written with 1 MiB at a time and synced, and read back past the page cache where O_DIRECT works.
 * - random: 4 KiB at random places, 16 at once, with O_DIRECT where it works.
 * - atomic write: one writer fills a range again and again with one byte value, a reader looks whether it ever sees two.
 * - punch: whether a hole gives its blocks back.
 *
 * Whether a sync reaches the medium can't be seen from here. What can: which file system it is, whether the kernel says of the
 * device that it turns, and whether it has a volatile cache that flushes have to empty.
 */
import { constants, type Stats } from "node:fs";
import * as fs from "node:fs/promises";
import { alignedMemory, allocateFile, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from "./libc.ts";

export interface DiskProbe {
  /** As statfs(2) calls it: `ext4`, `tmpfs`, …; or its magic number. */
  readonly fileSystem: string;
  /** `volatile`: has a cache that a flush has to empty; undefined: there is no block device to ask. */
  readonly device: { readonly rotational: boolean; readonly cache: "volatile" | "none" } | undefined;
  readonly syncMs: { readonly median: number; readonly p99: number };
  readonly sequentialWriteBytesPerSecond: number;
  readonly sequentialReadBytesPerSecond: number;
  readonly randomWritesPerSecond: number;
  readonly randomReadsPerSecond: number;
  readonly direct: boolean;
  readonly punch: "givesBack" | "keepsSpace" | "unsupported";
  /** The largest of the sizes tried of which no read saw a part; 0: not even 512 bytes. Undefined: not tried. */
  readonly atomicWriteBytes: number | undefined;
}

export interface ProbeExtent {
  readonly fileBytes: number;
  readonly syncs: number;
  readonly randomRequests: number;
  readonly atomicRounds: number;
}

/** Some seconds on a good disk. */
export const wholeProbe: ProbeExtent = {
  fileBytes: 256 * 1024 * 1024,
  syncs: 200,
  randomRequests: 4_000,
  atomicRounds: 400,
};
/** At the first start of a server: some tenths of a second. */
export const shortProbe: ProbeExtent = { fileBytes: 8 * 1024 * 1024, syncs: 15, randomRequests: 200, atomicRounds: 0 };

const pieceBytes = 1024 * 1024;
const blockBytes = 4096;
const requestsAtOnce = 16;
const atomicSizes = [512, 4096, 16_384, 65_536, 262_144];
/** Longer than any disk that works; then the probe says what it has. */
const stepMsMax = 10_000;

/** linux/magic.h */
const fileSystems: Readonly<Record<number, string>> = {
  61267: "ext4",
  1481003842: "xfs",
  2435016766: "btrfs",
  16914836: "tmpfs",
  1702057286: "fuse",
  26985: "nfs",
  2035054128: "overlayfs",
  801189825: "zfs",
};
const volatileFileSystems = new Set(["tmpfs"]);

/** Errors: those of the system calls, with `code` (ENOENT, EACCES, ENOSPC, …). */
export async function probeDisk(directory: string, extent: ProbeExtent): Promise<DiskProbe> {
  const path = `${directory}/.brine-probe-${process.pid}`;
  const { type } = await fs.statfs(directory);
  const file = await fs.open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    const direct = await openDirect(path);
    try {
      const syncMs = await measureSyncs(file, extent.syncs);
      const sequentialWriteBytesPerSecond = await writeAll(file, extent.fileBytes);
      const through = direct ?? file;
      return {
        fileSystem: fileSystems[type] ?? `0x${type.toString(16)}`,
        device: await deviceOf(await file.stat()),
        syncMs,
        sequentialWriteBytesPerSecond,
        sequentialReadBytesPerSecond: await readAll(through, extent.fileBytes),
        randomWritesPerSecond: await atRandom(extent, (buffer, at) => through.write(buffer, 0, blockBytes, at)),
        randomReadsPerSecond: await atRandom(extent, (buffer, at) => through.read(buffer, 0, blockBytes, at)),
        direct: direct !== undefined,
        atomicWriteBytes: extent.atomicRounds === 0 ? undefined : await atomicBytes(file, extent.atomicRounds),
        punch: await tryPunch(file),
      };
    } finally {
      await direct?.close();
    }
  } finally {
    await file.close();
    await fs.unlink(path);
  }
}

/** Why the disk is not fit for a store, and what is worth knowing of it. */
export function judgeDisk(probe: DiskProbe): { fit: boolean; remarks: string[] } {
  const remarks: string[] = [];
  const { fileSystem, device, syncMs } = probe;
  const isVolatile = volatileFileSystems.has(fileSystem);
  if (isVolatile) remarks.push(`${fileSystem} is memory: nothing on it survives a loss of power`);
  if (fileSystem === "fuse" || fileSystem === "nfs") {
    remarks.push(`${fileSystem} is another machine's or another program's word: whether a sync is one can't be told`);
  }
  if (device?.rotational === true && syncMs.median < 1) {
    remarks.push(
      "a disk that turns can't sync in less than a millisecond: it is a virtual one, or syncs don't reach it",
    );
  }
  if (device?.cache === "volatile" && !isVolatile) {
    remarks.push("the device has a volatile cache: a sync is as good as its flushes are");
  }
  if (syncMs.median > 20) remarks.push("syncs are slow: each fsync and each batch of metadata waits for one");
  if (probe.punch !== "givesBack")
    remarks.push("holes give no space back: deleted data stays on the disk until segments are rewritten");
  if (!probe.direct) remarks.push("O_DIRECT is not supported: figures of reads may be the page cache's");
  const isSlow = syncMs.p99 > 1_000;
  if (isSlow)
    remarks.push(
      "one sync in a hundred takes more than a second: clients would stall, and the store be taken for dead",
    );
  return { fit: !isVolatile && !isSlow, remarks };
}

async function openDirect(path: string): Promise<fs.FileHandle | undefined> {
  try {
    return await fs.open(path, constants.O_RDWR | constants.O_DIRECT);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EINVAL") return undefined;
    throw error;
  }
}

async function measureSyncs(file: fs.FileHandle, count: number): Promise<{ median: number; p99: number }> {
  const block = Buffer.alloc(blockBytes, 1);
  const times: number[] = [];
  const deadline = performance.now() + stepMsMax;
  for (let index = 0; index < count && performance.now() < deadline; index++) {
    const start = performance.now();
    await file.write(block, 0, blockBytes, index * blockBytes);
    await file.datasync();
    times.push(performance.now() - start);
  }
  times.sort((left, right) => left - right);
  return { median: times[Math.floor(times.length / 2)]!, p99: times[Math.ceil(times.length * 0.99) - 1]! };
}

async function writeAll(file: fs.FileHandle, bytes: number): Promise<number> {
  const piece = Buffer.alloc(pieceBytes, 2);
  const deadline = performance.now() + stepMsMax;
  const start = performance.now();
  let written = 0;
  for (let at = 0; at < bytes; at += pieceBytes) {
    await file.write(piece, 0, pieceBytes, at);
    // Past the deadline the rest is only needed to be there.
    if (performance.now() < deadline) written = at + pieceBytes;
  }
  await file.datasync();
  return perSecond(Math.max(written, pieceBytes), start);
}

async function readAll(file: fs.FileHandle, bytes: number): Promise<number> {
  const piece = alignedMemory(pieceBytes, blockBytes);
  const deadline = performance.now() + stepMsMax;
  const start = performance.now();
  let at = 0;
  while (at < bytes && performance.now() < deadline) {
    await file.read(piece, 0, pieceBytes, at);
    at += pieceBytes;
  }
  return perSecond(at, start);
}

async function atRandom(
  { fileBytes, randomRequests }: ProbeExtent,
  request: (buffer: Buffer, at: number) => Promise<unknown>,
): Promise<number> {
  const deadline = performance.now() + stepMsMax;
  const start = performance.now();
  let done = 0;
  const worker = async () => {
    const buffer = alignedMemory(blockBytes, blockBytes);
    while (done < randomRequests && performance.now() < deadline) {
      done += 1;
      await request(buffer, Math.floor((Math.random() * fileBytes) / blockBytes) * blockBytes);
    }
  };
  await Promise.all(Array.from({ length: requestsAtOnce }, worker));
  return perSecond(done, start);
}

async function atomicBytes(file: fs.FileHandle, rounds: number): Promise<number> {
  let whole = 0;
  for (const size of atomicSizes) {
    if (await isEverTorn(file, size, rounds)) break;
    whole = size;
  }
  return whole;
}

async function isEverTorn(file: fs.FileHandle, size: number, rounds: number): Promise<boolean> {
  let isTorn = false;
  let isWriting = true;
  await file.write(Buffer.alloc(size, 1), 0, size, 0);
  const write = async () => {
    for (let round = 0; round < rounds && !isTorn; round++)
      await file.write(Buffer.alloc(size, round % 250), 0, size, 0);
    isWriting = false;
  };
  const read = async () => {
    const buffer = Buffer.alloc(size);
    while (isWriting && !isTorn) {
      await file.read(buffer, 0, size, 0);
      isTorn ||= !buffer.equals(Buffer.alloc(size, buffer[0]));
    }
  };
  await Promise.all([write(), read(), read()]);
  return isTorn;
}

async function tryPunch(file: fs.FileHandle): Promise<DiskProbe["punch"]> {
  await file.datasync();
  const { blocks: before } = await file.stat();
  try {
    await allocateFile(file.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4 * pieceBytes);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EOPNOTSUPP") throw error;
    return "unsupported";
  }
  return (await file.stat()).blocks < before ? "givesBack" : "keepsSpace";
}

/** What the kernel says of the block device (Documentation/ABI/stable/sysfs-block); a partition has its disk's. */
async function deviceOf({ dev }: Stats): Promise<DiskProbe["device"]> {
  const major = (dev >> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >> 12) & 0xfff00);
  for (const queue of ["queue", "../queue"]) {
    const path = `/sys/dev/block/${major}:${minor}/${queue}`;
    try {
      const rotational = (await fs.readFile(`${path}/rotational`, "utf8")).trim() === "1";
      const cache = (await fs.readFile(`${path}/write_cache`, "utf8")).trim() === "write back" ? "volatile" : "none";
      return { rotational, cache };
    } catch {
      // Not there: a partition, or no block device at all.
    }
  }
  return undefined;
}

function perSecond(amount: number, startMs: number): number {
  return Math.round((amount * 1000) / Math.max(0.001, performance.now() - startMs));
}
