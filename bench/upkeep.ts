/**
 * `node bench/upkeep.ts`: what the upkeep of a store costs, on a memory disk (or --data DIR), in one process:
 *
 * - scrub: bytes that are read from the disk and checked, a second of one core
 * - compaction: how many 4 KiB writes a second, 16 at a time, each durable, while segments are compacted; beside the same without
 */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { Command } from "commander";
import { blockBytes, chunkNumbersPerGroup } from "../src/namespace/model.ts";
import { realPlatform } from "../src/platform/real.ts";
import { Scrub } from "../src/store/scrub.ts";
import { Store } from "../src/store/store.ts";
import { blockChecksums } from "../src/wire/checksum.ts";

const program = new Command("upkeep")
  .description("Measure what the upkeep of a store costs.")
  .option("--data <directory>", "parent of the store's data", "/dev/shm")
  .option("--mebibytes <count>", "data that is scrubbed, and that compaction has to look at", "1024")
  .parse();
const options = program.opts<{ data: string; mebibytes: string }>();

const group = 1;
const firstChunk = group * chunkNumbersPerGroup + 1;
/** A file of 64 KiB in each chunk. */
const chunkBlocks = 16;
const chunks = Math.ceil((Number(options.mebibytes) * 1024 ** 2) / (chunkBlocks * blockBytes));
const writersAtOnce = 16;
const measureMs = 5_000;
const mebibyte = 1024 ** 2;

const platform = realPlatform({ logLevel: "warn" });
let grant = 0;

async function write(store: Store, chunk: number, firstBlock: number, data: Buffer): Promise<void> {
  const version = { grant: ++grant, sequence: 1 };
  const checksums = blockChecksums(data, chunk, firstBlock, version);
  await store.write({ chunk, firstBlock, version, checksums, generation: 1, session: 1 }, data);
}

async function fill(store: Store): Promise<void> {
  const data = Buffer.alloc(chunkBlocks * blockBytes, "brine ");
  let next = 0;
  const writer = async () => {
    while (next < chunks) await write(store, firstChunk + next++, 0, data);
  };
  await Promise.all(Array.from({ length: 64 }, writer));
}

async function scrubRate(store: Store): Promise<string> {
  const scrub = new Scrub({
    ...{ store, clock: platform.clock, logger: platform.logger, scrubMs: 1e9, isBusy: () => false },
    repair: { repair: async () => 0 },
    comparison: { compare: async () => 0, stop: () => {}, rest: () => {} },
    bytesPerSecond: 1e12,
  });
  scrub.order([]);
  const before = process.cpuUsage();
  const startedMs = performance.now();
  scrub.start();
  while (store.scrubs.get("ordered")?.endedMs === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const seconds = (performance.now() - startedMs) / 1000;
  const { user, system } = process.cpuUsage(before);
  await scrub.stop();
  const { doneBytes, badBlocks } = store.scrubs.get("ordered")!;
  if (badBlocks > 0) throw new Error(`${badBlocks} bad blocks`);
  const cpuSeconds = (user + system) / 1e6;
  const perCore = Math.round(doneBytes / mebibyte / cpuSeconds);
  return `${perCore} MiB a second of one core (${Math.round(doneBytes / mebibyte / seconds)} MiB/s, ${cpuSeconds.toFixed(2)} s of CPU)`;
}

/** Small durable writes a second, all over a few chunks. */
async function writeRate(store: Store, alongside?: Promise<unknown>): Promise<{ rate: number; longestMs: number }> {
  const data = Buffer.alloc(blockBytes, "x");
  let [count, longestMs, over] = [0, 0, false];
  const startedMs = performance.now();
  void alongside?.finally(() => {
    over = true;
  });
  const isOver = () => over || performance.now() - startedMs > measureMs;
  const writer = async (_: unknown, at: number) => {
    for (let number = 0; !isOver(); number++) {
      const beganMs = performance.now();
      await write(store, firstChunk + chunks + at, number % 512, data);
      longestMs = Math.max(longestMs, performance.now() - beganMs);
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: writersAtOnce }, writer));
  return { rate: count / ((performance.now() - startedMs) / 1000), longestMs };
}

async function compactionCost(store: Store): Promise<string> {
  await writeRate(store); // so that all is warm
  const before = await writeRate(store);
  const doomed = Array.from({ length: chunks }, (_, number) => firstChunk + number).filter(
    (_, number) => number % 4 !== 0,
  );
  for (let at = 0; at < doomed.length; at += 4096) await store.delete(doomed.slice(at, at + 4096));
  const startedMs = performance.now();
  const round = store.compaction.round();
  const beside = await writeRate(store, round);
  const seconds = (performance.now() - startedMs) / 1000;
  const moved = store.compaction.totals.movedBytes / mebibyte;
  await store.compaction.stop();
  const after = await writeRate(store);
  const alone = { rate: (before.rate + after.rate) / 2, longestMs: Math.max(before.longestMs, after.longestMs) };
  const cost = Math.round((1 - beside.rate / alone.rate) * 100);
  const longest = `the longest ${beside.longestMs.toFixed(0)} ms instead of ${alone.longestMs.toFixed(0)} ms`;
  return `${Math.round(beside.rate)} writes/s instead of ${Math.round(alone.rate)} (${cost} % fewer, ${longest}) while ${Math.round(moved / seconds)} MiB/s are moved`;
}

const directory = mkdtempSync(join(options.data, "brine-upkeep-"));
try {
  const store = await Store.open(platform, { directory });
  await store.setGroups([{ group, generation: 1, members: [] }]);
  await fill(store);
  await store.checkpoint();
  console.log(`scrub: ${await scrubRate(store)}`);
  console.log(`compaction: ${await compactionCost(store)}`);
  await store.close();
} finally {
  rmSync(directory, { recursive: true });
}
process.exit();
