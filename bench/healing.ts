/**
 * `node bench/healing.ts`: what a loss of stores costs. Four servers on a memory disk (or --data DIR), the metadata on one of them, two
 * copies of everything on the other three:
 *
 * - stall at a kill: the longest of many small writes with fsync, around the moment at which a store's process is killed
 * - catch-up: a store is away while data is written, and comes back
 * - rebuild: a store is removed for good, and all that it had is copied to the others, until it is durable; beside the rate of a
 *   sequential copy of a file on the same disk: with and without its fsync, and as two processes do it
 *
 * The cluster is watched over one connection: starting `brine status` again and again would take a core from those who copy.
 */
import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Command } from "commander";
import { AdminConnection } from "../src/cli/admin.ts";
import { realPlatform } from "../src/platform/real.ts";
import { changeStore, readStatus } from "../src/wire/catalogue/admin.ts";
import { Cluster, waitFor } from "../test/system/cluster.ts";
import { timeShell } from "./mount/environment.ts";

const program = new Command("healing")
  .description("Measure what a loss of stores costs.")
  .option("--data <directory>", "parent of the servers' data", "/dev/shm")
  .option("--mebibytes <count>", "data that is missed and rebuilt", "1024")
  .parse();
const options = program.opts<{ data: string; mebibytes: string }>();
const mebibytes = Number(options.mebibytes);
const undo: (() => void | Promise<void>)[] = [];
const context = { after: (one: () => void | Promise<void>) => void undo.push(one) };

async function waitHealed(admin: AdminConnection): Promise<void> {
  await waitFor(
    "all copies",
    async () => {
      const { groups, healing } = await admin.ask(readStatus, {});
      return (
        healing === undefined &&
        groups.every(
          ({ replicas, members }) => members.length === replicas && members.every(({ state }) => state === "inSync"),
        )
      );
    },
    600_000,
  );
}

function secondsSince(startedMs: number): number {
  return (performance.now() - startedMs) / 1000;
}

/** Small writes with fsync until `stopped`; returns the longest in milliseconds. */
async function longestWrite(path: string, stopped: () => boolean): Promise<number> {
  const file = await open(path, "w");
  const block = Buffer.alloc(4096, 1);
  let longestMs = 0;
  for (let number = 0; !stopped(); number++) {
    const startedMs = performance.now();
    await file.write(block, 0, block.byteLength, (number % 256) * 4096);
    await file.datasync();
    longestMs = Math.max(longestMs, performance.now() - startedMs);
  }
  await file.close();
  return longestMs;
}

async function measureKill(cluster: Cluster, point: string): Promise<void> {
  let stopped = false;
  const writing = longestWrite(join(point, "small"), () => stopped);
  await new Promise((done) => setTimeout(done, 1_000));
  await cluster.killServer(3);
  await new Promise((done) => setTimeout(done, 1_000));
  stopped = true;
  console.log(`| longest write + fsync around the kill of a store | ${Math.round(await writing)} ms |`);
}

function fill(path: string): Promise<number> {
  return timeShell(`dd if=/dev/urandom of=${path} bs=1M count=${mebibytes} conv=fsync status=none`);
}

async function measureCatchUp(cluster: Cluster, admin: AdminConnection, point: string): Promise<void> {
  await fill(join(point, "missed"));
  const startedMs = performance.now();
  await cluster.startServer(3);
  await waitHealed(admin);
  const seconds = secondsSince(startedMs);
  console.log(`| catch-up after ${mebibytes} MiB were written, two thirds of them missed | ${seconds.toFixed(1)} s |`);
}

async function measureRebuild(cluster: Cluster, admin: AdminConnection, point: string, scratch: string): Promise<void> {
  const { servers, groups } = await admin.ask(readStatus, {});
  const { store } = servers.find(({ address }) => address === cluster.addresses[3])!;
  const share = groups.filter(({ members }) => members.some((member) => member.store === store)).length / groups.length;
  const lost = mebibytes * share;
  await cluster.killServer(3);
  await waitFor("the loss to be seen", async () => (await admin.ask(readStatus, {})).healing !== undefined);
  const startedMs = performance.now();
  await admin.ask(changeStore, { store: String(store), change: "remove" });
  await waitHealed(admin);
  const rate = (lost * 1.048576) / secondsSince(startedMs);
  console.log(`| rebuild of what a store had (${Math.round(lost)} MiB) on two others | ${Math.round(rate)} MB/s |`);
  const from = join(scratch, "copied");
  await timeShell(`cp ${join(point, "missed")} ${from} && sync ${from}`);
  await measureCopy("cp", rate, `cp ${from} ${from}-1`);
  await measureCopy("cp and fsync", rate, `cp ${from} ${from}-2 && sync ${from}-2`);
  await measureSocketCopy(rate, from);
}

async function measureCopy(what: string, rebuildRate: number, command: string): Promise<void> {
  const seconds = await timeShell(command);
  tellCopy(what, rebuildRate, (mebibytes * 1.048576) / seconds);
}

/** See socket-copy.ts. */
async function measureSocketCopy(rebuildRate: number, from: string): Promise<void> {
  const program = fileURLToPath(new URL("socket-copy.ts", import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, [program, from, `${from}-3`], { timeout: 600_000 });
  tellCopy("two processes over loopback, with checksums and fsync", rebuildRate, Number(stdout) / 1e6);
}

function tellCopy(what: string, rebuildRate: number, rate: number): void {
  const part = Math.round((rebuildRate / rate) * 100);
  console.log(`| sequential copy (${what}) on the same disk | ${Math.round(rate)} MB/s; the rebuild has ${part} % |`);
}

const scratch = mkdtempSync(join(options.data, "brine-healing-"));
undo.push(() => rmSync(scratch, { recursive: true, force: true }));
try {
  mkdirSync(join(scratch, "cluster"));
  const cluster = await Cluster.start(context, {
    servers: 4,
    metadataAlone: true,
    directory: join(scratch, "cluster"),
  });
  const admin = new AdminConnection(realPlatform({ logLevel: "warn" }), cluster.addresses);
  undo.push(() => admin.close());
  const mount = await cluster.mount("mnt");
  console.log("| what | measured |\n|---|---|");
  await measureKill(cluster, mount.point);
  await measureCatchUp(cluster, admin, mount.point);
  await measureRebuild(cluster, admin, mount.point, scratch);
  await mount.unmount();
} finally {
  while (undo.length > 0) await undo.pop()!();
}
