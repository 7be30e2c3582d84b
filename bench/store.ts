/**
 * What one store carries: two processes on loopback, real segments and index, with an fdatasync behind each answer.
 *
 *     UV_THREADPOOL_SIZE=16 node bench/store.ts [--data DIR]        (default: a memory disk)
 *
 * Figures: writes and reads of 4 KiB and 1 MiB, one at a time and many in flight; many small files in one request; then
 * the store's start with that index.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { blockBytes, blocksPerChunk, chunkNumbersPerGroup } from "../src/namespace/model.ts";
import { realPlatform } from "../src/platform/real.ts";
import { StoreServer } from "../src/store/store-server.ts";
import { registerStore, storeHeartbeat } from "../src/wire/catalogue/registration.ts";
import { readBlocks, writeBlocks } from "../src/wire/catalogue/store.ts";
import { blockChecksums } from "../src/wire/checksum.ts";
import { connectPeer } from "../src/wire/connect.ts";
import { listenPeers } from "../src/wire/listen.ts";
import { Service } from "../src/wire/service.ts";

const group = 1;
const firstChunk = group * chunkNumbersPerGroup + 1;
const smallBlocks = 1;
const largeBlocks = 256;
/** About an average file of a source tree. */
const fileBlocks = 4;
const timeoutMs = 30_000;
const clusterId = "";
/** A file of 512 MiB, written in full first; reads and overwrites go all over it. */
const chunks = 128;

let randomState = 12345;

const serveAt = process.argv.indexOf("--serve");
if (serveAt !== -1) await serve(process.argv[serveAt + 1]!);
else await measure();

/** A store, and a leader that lets it do everything, in one process. */
async function serve(directory: string): Promise<void> {
  const platform = realPlatform({ logLevel: "warn" });
  const identity = () => ({ clusterId, serverId: "bench" });
  const service = new Service();
  const { address } = await listenPeers(platform, "127.0.0.1:0", { identity, service });
  const views = [{ group, generation: 1, members: [{ store: 1, state: "inSync" as const, address }] }];
  const registered = {
    store: 1,
    lossSettled: true,
    views,
    liveSessions: [],
    sessionsBelow: 0,
    heartbeatMs: 1000,
    leaders: [],
    serveMs: 60_000,
  };
  const ready = Promise.withResolvers<void>();
  service.handle(registerStore, () => registered);
  service.handle(storeHeartbeat, () => {
    ready.resolve();
    return { ledgerTerm: 0, ledgerIndex: 0, leaders: [] };
  });
  const started = performance.now();
  const ids = { serverId: "bench", clusterId, address, leaders: [address], pid: process.pid, roles: ["store"] };
  const store = await StoreServer.start(platform, { directory: `${directory}/store`, ...ids });
  const startMs = Math.round(performance.now() - started);
  store.register(service);
  await ready.promise;
  console.log(`${address} ${startMs}`);
  const memory = setInterval(() => {
    const { rss, heapTotal, arrayBuffers } = process.memoryUsage();
    if (rss > peak.rss) peak = { rss, heapTotal, arrayBuffers };
  }, 100);
  let peak = { rss: 0, heapTotal: 0, arrayBuffers: 0 };
  process.stdin.resume().on("end", async () => {
    clearInterval(memory);
    await store.stop();
    const [all, heap, buffers] = [peak.rss, peak.heapTotal, peak.arrayBuffers].map((size) => Math.round(size / 1e6));
    console.log(`${all} MB, of these ${heap} MB heap, ${buffers} MB buffers`);
    process.exit();
  });
}

interface Server {
  readonly address: string;
  readonly startMs: number;
  /** Ends it; resolves with the most memory that it had, in words. */
  stop(): Promise<string>;
}

async function startServer(directory: string): Promise<Server> {
  const args = [...process.execArgv, import.meta.filename, "--serve", directory];
  const child = spawn(process.execPath, args, {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, UV_THREADPOOL_SIZE: "16" },
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const [address = "", startMs] = ((await lines.next()).value ?? "").split(" ");
  return {
    address,
    startMs: Number(startMs),
    stop: async () => {
      child.stdin.end();
      return (await lines.next()).value ?? "";
    },
  };
}

async function measure(): Promise<void> {
  const dataAt = process.argv.indexOf("--data");
  const parent = dataAt === -1 ? "/dev/shm" : process.argv[dataAt + 1]!;
  const directory = mkdtempSync(`${parent}/brine-bench-store-`);
  try {
    const server = await startServer(directory);
    await measureTransfers(server.address);
    console.log(`${"memory at most".padEnd(40)} ${await server.stop()}`);
    const again = await startServer(directory);
    console.log(`${"start after a clean stop".padEnd(40)} ${again.startMs} ms`);
    await again.stop();
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function measureTransfers(address: string): Promise<void> {
  const platform = realPlatform({ logLevel: "warn" });
  const identity = { role: "client", clusterId, peerId: "bench", description: "bench" } as const;
  const peers = await Promise.all([1, 2].map(() => connectPeer(platform, address, identity, new Service(), timeoutMs)));
  let turn = 0;
  let sequence = 0;
  const data = Buffer.alloc(largeBlocks * blockBytes, 5);
  const target = (chunk: number) => ({ session: 1, group, generation: 1, chunk });
  const write = async (chunk: number, firstBlock: number, blocks: number) => {
    const version = { grant: 1, sequence: ++sequence };
    const payload = data.subarray(0, blocks * blockBytes);
    const checksums = blockChecksums(payload, chunk, firstBlock, version);
    const parts = [{ chunk, firstBlock, version, checksums }];
    const body = { session: 1, group, generation: 1, parts, restores: false };
    await peers[turn++ % 2]!.request(writeBlocks, body, { payload: [payload], timeoutMs });
  };
  const read = async (chunk: number, firstBlock: number, blockCount: number) => {
    await peers[turn++ % 2]!.request(readBlocks, { ...target(chunk), firstBlock, blockCount }, { timeoutMs });
  };
  let next = 0;
  const pieces = (chunks * blocksPerChunk) / largeBlocks;
  const nextPiece = () => {
    const piece = next++ % pieces;
    return [firstChunk + Math.floor(piece / 4), (piece % 4) * largeBlocks] as const;
  };
  const anyBlock = () => [firstChunk + random(chunks), random(blocksPerChunk)] as const;
  await report("write 1 MiB, 8 in flight", 8, largeBlocks, pieces, () => write(...nextPiece(), largeBlocks));
  await report("overwrite 1 MiB, 8 in flight", 8, largeBlocks, pieces, () => write(...nextPiece(), largeBlocks));
  await report("read 1 MiB, 8 in flight", 8, largeBlocks, 2000, () => read(...nextPiece(), largeBlocks));
  await report("read 4 KiB, 1 in flight", 1, smallBlocks, 10_000, () => read(...anyBlock(), smallBlocks));
  await report("read 4 KiB, 64 in flight", 64, smallBlocks, 50_000, () => read(...anyBlock(), smallBlocks));
  await report("write 4 KiB, 1 in flight", 1, smallBlocks, 5_000, () => write(...anyBlock(), smallBlocks));
  await report("write 4 KiB, 64 in flight", 64, smallBlocks, 100_000, () => write(...anyBlock(), smallBlocks));
  await report("read 1 MiB of small extents, 8 in flight", 8, largeBlocks, 500, () =>
    read(...nextPiece(), largeBlocks),
  );
  let file = firstChunk + 1_000_000;
  await report("write 4 KiB to new chunks, 64 in flight", 64, smallBlocks, 50_000, () => write(file++, 0, smallBlocks));
  const writeMany = async (count: number) => {
    const parts = [];
    for (let index = 0; index < count; index++) {
      const version = { grant: 1, sequence: ++sequence };
      const payload = data.subarray(0, fileBlocks * blockBytes);
      const chunk = file++;
      parts.push({ chunk, firstBlock: 0, version, checksums: blockChecksums(payload, chunk, 0, version) });
    }
    const body = { session: 1, group, generation: 1, parts, restores: false };
    const payload = [data.subarray(0, count * fileBlocks * blockBytes)];
    await peers[turn++ % 2]!.request(writeBlocks, body, { payload, timeoutMs });
  };
  await report("write 16 files of 16 KiB at once, 4 in flight", 4, 16 * fileBlocks, 3_000, () => writeMany(16));
  for (const peer of peers) peer.close("bench finished");
}

/** Runs `count` requests with `inFlight` at a time and prints their rate and latencies. */
async function report(what: string, inFlight: number, blocks: number, count: number, ask: () => Promise<void>) {
  const latencies: number[] = [];
  let begun = 0;
  const start = performance.now();
  const loop = async () => {
    while (begun < count) {
      begun += 1;
      const sent = performance.now();
      await ask();
      latencies.push(performance.now() - sent);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, loop));
  const perSecond = (count / (performance.now() - start)) * 1000;
  latencies.sort((left, right) => left - right);
  const [middle, late] = [0.5, 0.99].map((share) => latencies[Math.floor(latencies.length * share)]!.toFixed(2));
  const megabytes = Math.round((perSecond * blocks * blockBytes) / 1e6);
  console.log(`${what.padEnd(40)} ${Math.round(perSecond)}/s, ${megabytes} MB/s, p50 ${middle} ms, p99 ${late} ms`);
}

/** The same places in each run. */
function random(limit: number): number {
  randomState = (Math.imul(randomState, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((randomState / 2 ** 32) * limit);
}
