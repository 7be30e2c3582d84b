/**
 * What the wire carries: two processes on loopback, through the real platform.
 *
 *     node bench/wire.ts
 *
 * Figures: requests of 64 bytes with answers of 4 KiB, one at a time and 64 in flight; messages of 1 MiB each way; and
 * what block checksums cost. The best of several rounds, since other load only ever makes it slower.
 */
import { spawn } from "node:child_process";
import { performance } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { bytes, nothing, struct, u32 } from "../src/codec/schema.ts";
import { realPlatform } from "../src/platform/real.ts";
import { blockChecksums } from "../src/wire/checksum.ts";
import { connectPeer } from "../src/wire/connect.ts";
import { listenPeers } from "../src/wire/listen.ts";
import { method } from "../src/wire/method.ts";
import type { Peer } from "../src/wire/peer.ts";
import { Service } from "../src/wire/service.ts";

const read = method(900, "bench.read", struct({ key: bytes(64) }), nothing);
const write = method(901, "bench.write", struct({ count: u32 }), nothing);

const smallBytes = 4096;
const largeBytes = 1024 * 1024;
const roundMs = 1000;
const rounds = 3;

if (process.argv.includes("--serve")) await serve();
else await measure();

async function serve(): Promise<void> {
  const small = [Buffer.alloc(smallBytes, 1)];
  const large = [Buffer.alloc(largeBytes, 1)];
  const service = new Service()
    .handle(read, async ({ key }) => ({ body: {}, payload: key.byteLength === 1 ? large : small }))
    .handle(write, async () => ({}));
  const identity = () => ({ clusterId: "", serverId: "bench" });
  const { address } = await listenPeers(realPlatform(), "127.0.0.1:0", { identity, service });
  console.log(address);
  process.stdin.resume().on("end", () => process.exit());
}

async function measure(): Promise<void> {
  const child = spawn(process.execPath, [import.meta.filename, "--serve"], { stdio: ["pipe", "pipe", "inherit"] });
  let address = "";
  for await (const line of createInterface({ input: child.stdout })) {
    address = line;
    break;
  }
  const identity = { role: "admin", clusterId: "", peerId: "bench", description: "bench" } as const;
  const peer = await connectPeer(realPlatform(), address, identity, new Service(), 5000);
  const timeoutMs = 10_000;
  const key = Buffer.alloc(64);
  const one = Buffer.alloc(1);
  const payload = [Buffer.alloc(largeBytes, 2)];
  const small = (from: Peer) => from.request(read, { key }, { timeoutMs });
  const fetch = (from: Peer) => from.request(read, { key: one }, { timeoutMs });
  const send = (to: Peer) => to.request(write, { count: 1 }, { timeoutMs, payload });
  const rows = [
    ["64 B -> 4 KiB, 1 in flight", await rate(() => small(peer), 1), smallBytes],
    ["64 B -> 4 KiB, 64 in flight", await rate(() => small(peer), 64), smallBytes],
    ["1 MiB to the server, 8 in flight", await rate(() => send(peer), 8), largeBytes],
    ["1 MiB from the server, 8 in flight", await rate(() => fetch(peer), 8), largeBytes],
  ] as const;
  for (const [what, perSecond, size] of rows) {
    console.log(`${what.padEnd(36)} ${Math.round(perSecond)}/s, ${((perSecond * size) / 1e9).toFixed(2)} GB/s`);
  }
  measureChecksums();
  peer.close("bench finished");
  child.stdin.end();
}

/** Requests a second, kept at `inFlight` at a time. */
async function rate(ask: () => Promise<unknown>, inFlight: number): Promise<number> {
  let best = 0;
  for (let round = 0; round < rounds; round++) {
    let done = 0;
    const start = performance.now();
    const until = start + roundMs;
    const loop = async () => {
      while (performance.now() < until) {
        await ask();
        done += 1;
      }
    };
    await Promise.all(Array.from({ length: inFlight }, loop));
    best = Math.max(best, (done / (performance.now() - start)) * 1000);
  }
  return best;
}

function measureChecksums(): void {
  const data = Buffer.alloc(largeBytes, 3);
  const version = { grant: 1, sequence: 1 };
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 200; round++) {
    const start = performance.now();
    blockChecksums(data, 1, 0, version);
    best = Math.min(best, performance.now() - start);
  }
  const blocks = largeBytes / 4096;
  const nsPerBlock = ((best * 1e6) / blocks).toFixed(0);
  console.log(`${"block checksums".padEnd(36)} ${nsPerBlock} ns a block, ${(largeBytes / best / 1e6).toFixed(1)} GB/s`);
}
