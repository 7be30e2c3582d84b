/**
 * A store that had the last good copy of groups is gone for good, and the operator accepts the loss: what another store has goes on,
 * what nobody has is an error and named, and both can be written again.
 */
import { strict as assert } from "node:assert";
import { appendFileSync, closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, freePorts, runBrine, shell, waitFor, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
const blocks = (count: number, text: string) => Buffer.alloc(count * 4096, text);

function bytesAt(path: string, offset: number, length: number): Buffer {
  const file = openSync(path, "r");
  try {
    const buffer = Buffer.alloc(length);
    return buffer.subarray(0, readSync(file, buffer, 0, length, offset));
  } finally {
    closeSync(file);
  }
}

function failsToRead(path: string, offset = 0, length = 4096): void {
  assert.throws(() => bytesAt(path, offset, length), { code: "EIO" }, `${path} at ${offset}`);
}

async function lostFiles(cluster: Cluster): Promise<string[]> {
  const { badRanges } = await cluster.status();
  type Range = { path: string; offset: number; length: number; isLost: boolean };
  const lost = badRanges.filter(({ isLost }: Range) => isLost);
  return lost.map(({ path, offset, length }: Range) => `${path} ${offset}+${length}`).sort();
}

/** All servers but the one with the metadata are stores; their numbers in its order. */
async function storeAt(cluster: Cluster, index: number): Promise<string> {
  const { servers } = await cluster.status();
  return String(servers.find(({ address }: { address: string }) => address === cluster.addresses[index])!.store);
}

test("a stale copy goes on: what it missed is EIO and named, until it is written anew", { skip }, async (context) => {
  const cluster = await Cluster.start(context, { servers: 3, metadataAlone: true });
  const leader = cluster.addresses[0]!;
  const { point } = await cluster.mount("writer");
  const [lost, stale] = [await storeAt(cluster, 1), await storeAt(cluster, 2)];
  const write = (name: string, bytes: Buffer) => writeFileSync(join(point, name), bytes, { flush: true });
  write("before", blocks(8, "before "));
  write("grown", blocks(4, "grown at first "));
  await cluster.killServer(2);
  write("after", blocks(6, "after "));
  appendFileSync(join(point, "grown"), blocks(3, "grown later "), { flush: true });
  await cluster.killServer(1);
  await cluster.startServer(2);
  await cluster.waitOnline(1);

  const refused = await runBrine(["store", "remove", lost, leader]);
  assert.match(refused.stderr, /last good copy of \d+ groups.*--accept-loss/s);
  const online = await runBrine(["store", "remove", stale, "--accept-loss", leader]);
  assert.notEqual(online.code, 0);
  assert.match(online.stderr, /may still be serving/);
  const accepted = await runBrine(["store", "remove", lost, "--accept-loss", leader]);
  assert.equal(accepted.code, 0, accepted.stderr);
  assert.match(accepted.stdout, new RegExp(`last good copy of \\d+ groups: \\d+ go on with what store ${stale} has`));

  const reader = (await cluster.mount("reader")).point;
  assert.ok(readFileSync(join(reader, "before")).equals(blocks(8, "before ")));
  assert.ok(bytesAt(join(reader, "grown"), 0, 4 * 4096).equals(blocks(4, "grown at first ")));
  failsToRead(join(reader, "grown"), 4 * 4096);
  failsToRead(join(reader, "after"));
  await waitFor("status to name what is lost", async () => (await lostFiles(cluster)).length === 2);
  assert.deepEqual(await lostFiles(cluster), [`/after 0+${6 * 4096}`, `/grown ${4 * 4096}+${3 * 4096}`]);
  const checked = await runBrine(["check", leader]);
  assert.equal(checked.code, 1, checked.stdout);
  assert.match(checked.stdout, /Nobody has a good copy of 12288 bytes of home:\/grown at offset 16384/);

  // A small write needs the rest of its block; a whole block doesn't, and heals that one alone.
  const after = openSync(join(reader, "after"), "r+");
  assert.throws(() => writeSync(after, "x", 4096 + 1), { code: "EIO" });
  writeSync(after, blocks(1, "anew "), 0, 4096, 4096);
  closeSync(after);
  await shell(`sync ${join(reader, "after")}`);
  assert.ok(bytesAt(join(reader, "after"), 4096, 4096).equals(blocks(1, "anew ")));
  failsToRead(join(reader, "after"), 0);
  writeFileSync(join(reader, "new"), blocks(2, "new "), { flush: true });

  // The other copies get the marks with the rest; the old store is never believed again.
  await cluster.startServer(1).catch(() => {});
  const log = () => readFileSync(join(cluster.directory, "server-2.log"), "utf8");
  await waitFor("its refusal", () => /was removed from this cluster/.test(log()));
  cluster.addresses.push(`127.0.0.1:${await freePorts(1)}`);
  await cluster.startServer(3);
  await cluster.waitOnline(2);
  await runBrine(["store", "add", cluster.addresses[3]!, leader]);
  await waitFor("two copies of everything", async () => {
    const { groups } = await cluster.status();
    type Group = { members: { state: string }[] };
    return groups.every(({ members }: Group) => members.filter(({ state }) => state === "inSync").length === 2);
  });
  await cluster.killServer(2);
  const other = (await cluster.mount("other")).point;
  assert.ok(readFileSync(join(other, "before")).equals(blocks(8, "before ")));
  assert.ok(readFileSync(join(other, "new")).equals(blocks(2, "new ")));
  failsToRead(join(other, "after"), 0);
  assert.ok(bytesAt(join(other, "after"), 4096, 4096).equals(blocks(1, "anew ")));
  writeFileSync(join(other, "after"), blocks(6, "healed "), { flush: true });
  writeFileSync(join(other, "grown"), blocks(7, "healed "), { flush: true });
  await waitFor("nothing to be lost", async () => (await lostFiles(cluster)).length === 0);
  assert.ok(readFileSync(join(other, "after")).equals(blocks(6, "healed ")));
});

test("nobody has anything left of some groups: they begin anew, the others are untouched", {
  skip,
}, async (context) => {
  const cluster = await Cluster.start(context, { servers: 4, metadataAlone: true });
  const leader = cluster.addresses[0]!;
  assert.equal((await runBrine(["volume", "set", "home", leader, "--replicas", "1"])).code, 0);
  const names = Array.from({ length: 40 }, (_, number) => `f${number}`);
  // The chunks of each writer are of another group.
  const writers = await Promise.all(["a", "b", "c", "d"].map((name) => cluster.mount(name)));
  for (const [number, name] of names.entries())
    writeFileSync(join(writers[number % 4]!.point, name), blocks(2, `${name} `), { flush: true });
  await waitFor("one copy of everything", async () => {
    const { groups } = await cluster.status();
    return groups.every(({ members }: { members: unknown[] }) => members.length === 1);
  });
  const lost = await storeAt(cluster, 1);
  await cluster.killServer(1);
  let output = "";
  await waitFor("the store to be dead", async () => {
    const { code, stdout } = await runBrine(["store", "remove", lost, "--accept-loss", leader]);
    output = stdout;
    return code === 0;
  });
  assert.match(output, /\d+ begin empty on store/);
  const reader = (await cluster.mount("reader")).point;
  const gone = names.filter((name) => {
    try {
      assert.ok(readFileSync(join(reader, name)).equals(blocks(2, `${name} `)), name);
      return false;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EIO") throw error;
      return true;
    }
  });
  assert.ok(gone.length > 0 && gone.length < 40, `${gone.length} of 40 are lost`);
  await waitFor("status to name them", async () => (await lostFiles(cluster)).length === gone.length);
  for (const name of names) writeFileSync(join(reader, name), blocks(1, "anew "), { flush: true });
  for (const name of names) assert.ok(readFileSync(join(reader, name)).equals(blocks(1, "anew ")), name);
});
