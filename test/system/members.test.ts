/**
 * Stores come and go for good while a program writes and syncs: one is killed and removed, one is added, the number of copies goes
 * up and down, one is emptied and removed. The program sees no error, and at the end all that it synced is there.
 */
import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, freePorts, full, type Mount, runBrine, shell, waitFor, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
const bytesAtFirst = full ? 512 << 20 : 48 << 20;

/** Writes and syncs files one after the other until it is stopped. */
class Writer {
  readonly written = new Map<string, string>();
  slowestMs = 0;
  #stopped = false;
  readonly #running: Promise<void>;

  constructor(directory: string) {
    this.#running = this.#run(directory);
    this.#running.catch(() => {});
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(directory: string): Promise<void> {
    for (let number = 0; !this.#stopped; number++) {
      const path = join(directory, `file ${number}`);
      const content = Buffer.alloc(1 + ((number * 37_331) % 300_000), `${number} `);
      const startedMs = performance.now();
      const file = await open(path, "w");
      await file.write(content);
      await file.sync();
      await file.close();
      this.slowestMs = Math.max(this.slowestMs, performance.now() - startedMs);
      this.written.set(path, digest(content));
      await new Promise((done) => setTimeout(done, 10));
    }
  }
}

function digest(content: Uint8Array): string {
  return createHash("sha256").update(content).digest("hex");
}

async function brineDoes(...args: readonly string[]): Promise<string> {
  const output = await runBrine(args, 120_000);
  assert.equal(output.code, 0, `brine ${args.join(" ")}\n${output.stdout}${output.stderr}`);
  return output.stdout;
}

async function brineRefuses(reason: RegExp, ...args: readonly string[]): Promise<void> {
  const output = await runBrine(args);
  assert.notEqual(output.code, 0, output.stdout);
  assert.match(output.stderr, reason);
}

/** Every group has so many members, all in sync, and `status` says that all is well. */
async function waitWhole(cluster: Cluster, replicas: number, stores: readonly number[]): Promise<void> {
  await waitFor(
    `${replicas} copies on the stores ${stores}`,
    async () => {
      const { groups, healing } = await cluster.status();
      type Members = { members: { store: number; state: string }[] };
      return (
        healing === undefined &&
        groups.every(
          ({ members }: Members) =>
            members.length === replicas &&
            members.every(({ store, state }) => state === "inSync" && stores.includes(store)),
        ) &&
        stores.every((store) => groups.some(({ members }: Members) => members.some((one) => one.store === store)))
      );
    },
    120_000,
  );
}

test("stores are lost, added, emptied and removed, and copies change, while a program writes", {
  skip,
}, async (context) => {
  const cluster = await Cluster.start(context, { servers: 4, metadataAlone: true });
  const leader = cluster.addresses[0]!;
  const mount = await cluster.mount("mount");
  const first = join(mount.point, "first");
  await shell(`head -c ${bytesAtFirst} /dev/urandom > ${first} && sync ${first}`);
  const firstDigest = digest(await readFile(first));
  const writer = new Writer(mount.point);

  await brineRefuses(/still has copies/, "store", "remove", "3", leader);
  const killed = await numberOf(cluster, 3);
  await cluster.killServer(3);
  await waitFor("the loss to be seen", async () => (await cluster.status()).healing !== undefined);
  assert.match(await brineDoes("status", leader), /healing [█░]+ .*copies to make/);
  await brineDoes("store", "remove", String(killed), leader);
  const [one, two] = [await numberOf(cluster, 1), await numberOf(cluster, 2)];
  await waitWhole(cluster, 2, [one, two]);
  assert.match(await brineDoes("status", leader), /All is well/);

  await brineRefuses(/2 copies need as many stores/, "store", "drain", String(one), leader);
  await brineRefuses(/3 copies need as many stores/, "volume", "set", "home", leader, "--replicas", "3");
  const added = await addServer(cluster);
  assert.match(await brineDoes("store", "list", leader), /spare/);
  await brineDoes("store", "add", cluster.addresses[added]!, leader);
  const three = await numberOf(cluster, added);
  await waitWhole(cluster, 2, [one, two, three]);

  for (const replicas of full ? [3, 2, 1, 2] : [3, 2]) {
    await brineDoes("volume", "set", "home", leader, "--replicas", String(replicas));
    await waitWhole(cluster, replicas, [one, two, three]);
  }

  assert.match(await brineDoes("store", "drain", String(one), leader, "--wait"), /safe to remove/);
  await waitWhole(cluster, 2, [two, three]);
  await brineDoes("store", "remove", String(one), leader);
  await cluster.killServer(1);
  await brineRefuses(/needs|need as many stores/, "store", "drain", String(two), leader);

  await writer.stop();
  await mount.unmount();
  await checkAll(cluster, writer, first, firstDigest);
  assert.ok(writer.slowestMs < 5_000, `${writer.slowestMs} ms`);
  context.diagnostic(`${writer.written.size} files, the slowest took ${Math.round(writer.slowestMs)} ms`);
});

async function numberOf(cluster: Cluster, index: number): Promise<number> {
  const { servers } = await cluster.status();
  return servers.find(({ address }: { address: string }) => address === cluster.addresses[index])!.store;
}

async function addServer(cluster: Cluster): Promise<number> {
  cluster.addresses.push(`127.0.0.1:${await freePorts(1)}`);
  const index = cluster.addresses.length - 1;
  await cluster.startServer(index);
  await waitFor("the new store to be known", async () => (await cluster.status()).servers.length > 3);
  return index;
}

/** As another machine sees it, with nothing in its caches. */
async function checkAll(cluster: Cluster, writer: Writer, first: string, firstDigest: string): Promise<void> {
  const again: Mount = await cluster.mount("mount");
  assert.equal(digest(await readFile(first)), firstDigest);
  for (const [path, expected] of writer.written) assert.equal(digest(readFileSync(path)), expected, path);
  await again.unmount();
}

test("a store that comes back after it was given up gets its share again; drained, it deletes what it had; removed, it is refused", {
  skip,
}, async (context) => {
  const cluster = await Cluster.start(context, {
    servers: 4,
    metadataAlone: true,
    leaderOptions: ["--rebuild-after", "1s"],
  });
  const leader = cluster.addresses[0]!;
  const mount = await cluster.mount("mount");
  const first = join(mount.point, "first");
  await shell(`head -c ${bytesAtFirst} /dev/urandom > ${first} && sync ${first}`);
  const stores = await Promise.all([1, 2, 3].map((index) => numberOf(cluster, index)));
  await cluster.killServer(3);
  await waitWhole(cluster, 2, stores.slice(0, 2));
  await cluster.startServer(3);
  // It gets its share again; where it had a copy, it catches up on what it missed.
  await waitWhole(cluster, 2, stores);

  await brineDoes("store", "drain", String(stores[2]), leader, "--wait");
  const log = () => readFileSync(join(cluster.directory, "server-4.log"), "utf8");
  await waitFor("its copies to be given up", () => /a group is elsewhere now/.test(log()));
  await brineDoes("store", "remove", String(stores[2]), leader);
  await waitFor("its refusal", () => /was removed from this cluster/.test(log()));
  await mount.unmount();
});
