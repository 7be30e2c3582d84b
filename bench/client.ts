/**
 * What the client does without a kernel in front of it: the FileSystem of one mount in this process, two servers of their own
 * on a memory disk.
 *
 *     UV_THREADPOOL_SIZE=16 node bench/client.ts [--data DIR]
 *
 * Each figure has the seconds of CPU that this process spent beside it: what the mount's own work costs.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { Client } from "../src/client/client.ts";
import type { Handle } from "../src/client/file-system.ts";
import { realPlatform } from "../src/platform/real.ts";
import { Cluster } from "../test/system/cluster.ts";

const file = { type: "file", mode: 0o644, uid: 0, gid: 0 } as const;
const directory = { type: "directory", mode: 0o755, uid: 0, gid: 0 } as const;
const keepPrivileges = { killPrivileges: false };
const mebibyte = 1024 * 1024;
const largeBytes = 1024 * mebibyte;
/** A source tree: as many files in a directory, and bytes in a file, as Linux has on average. */
const files = 20_000;
const filesInDirectory = 15;
const fileBytes = 14_000;
const randomCount = 50_000;

const steps: (() => unknown)[] = [];
const dataAt = process.argv.indexOf("--data");
const scratch = mkdtempSync(`${dataAt === -1 ? "/dev/shm" : process.argv[dataAt + 1]}/brine-bench-client-`);
steps.push(() => rmSync(scratch, { recursive: true }));
try {
  const cluster = await Cluster.start({ after: (step) => void steps.push(step) }, { directory: scratch });
  const client = await Client.mount(realPlatform({ logLevel: "warn" }), {
    leaders: cluster.addresses,
    volume: "home",
    host: "bench",
  });
  const root = await client.open(client.root, {});
  await measureLarge(client);
  await measureFiles(client, root);
  await client.unmount();
} finally {
  while (steps.length > 0) await steps.pop()!();
}

async function measureLarge(client: Client): Promise<void> {
  const { handle } = await client.createAndOpen(client.root, "large", file, {});
  const data = Buffer.alloc(mebibyte, 7);
  const writeAll = async () => {
    for (let at = 0; at < largeBytes; at += mebibyte) await client.write(handle, at, data, keepPrivileges);
    await client.sync(handle);
  };
  await report("write 1 GiB, fsync", largeBytes, "MB/s", writeAll);
  await report("overwrite 1 GiB, fsync", largeBytes, "MB/s", writeAll);
  await report("read 1 GiB", largeBytes, "MB/s", async () => {
    for (let at = 0; at < largeBytes; at += mebibyte) await client.read(handle, at, mebibyte);
  });
  const block = data.subarray(0, 4096);
  for (const atOnce of [1, 16]) {
    await report(`random read 4 KiB, ${atOnce} at once`, randomCount, "/s", () =>
      atOnceOf(atOnce, randomCount, async () => void (await client.read(handle, anyBlock(), 4096))),
    );
    await report(`random write 4 KiB, ${atOnce} at once, fsync`, randomCount, "/s", async () => {
      await atOnceOf(atOnce, randomCount, async () => client.write(handle, anyBlock(), block, keepPrivileges));
      await client.sync(handle);
    });
    await report(`4 KiB write + fsync each, ${atOnce} at once`, 5_000, "/s", () =>
      atOnceOf(atOnce, 5_000, async () => {
        await client.write(handle, anyBlock(), block, keepPrivileges);
        await client.sync(handle);
      }),
    );
  }
  client.close(handle);
}

async function measureFiles(client: Client, root: Handle): Promise<void> {
  const data = Buffer.alloc(fileBytes, 3);
  const inodes: number[] = [];
  await report(`${files} files of 14 kB, fsync of the root`, files, "/s", async () => {
    let parent = client.root;
    for (let index = 0; index < files; index++) {
      if (index % filesInDirectory === 0) {
        parent = (await client.create(client.root, `d${index}`, directory)).inode;
      }
      const { handle } = await client.createAndOpen(parent, `f${index}`, file, {});
      await client.write(handle, 0, data, keepPrivileges);
      inodes.push(handle.inode);
      client.close(handle);
    }
    await client.sync(root);
  });
  await report("read them again", files, "/s", async () => {
    for (const inode of inodes) {
      const handle = await client.open(inode, {});
      await client.read(handle, 0, fileBytes);
      client.close(handle);
    }
  });
}

async function atOnceOf(atOnce: number, count: number, one: () => Promise<unknown>): Promise<void> {
  let begun = 0;
  const loop = async () => {
    while (begun++ < count) await one();
  };
  await Promise.all(Array.from({ length: atOnce }, loop));
}

function anyBlock(): number {
  return Math.floor(Math.random() * (largeBytes / 4096)) * 4096;
}

async function report(what: string, amount: number, unit: "/s" | "MB/s", work: () => Promise<unknown>): Promise<void> {
  const before = process.cpuUsage();
  const started = performance.now();
  await work();
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(before);
  const rate = unit === "/s" ? amount / seconds : amount / seconds / 1e6;
  const cpu = ((user + system) / 1e6).toFixed(2);
  console.log(`${what.padEnd(44)} ${Math.round(rate)} ${unit} (${seconds.toFixed(2)} s, here ${cpu} s of CPU)`);
}
