/** Quotas over a leader, two stores and two clients: what fails, when, and what statfs and lists show. */
import { strict as assert } from "node:assert";
import { type TestContext, test } from "node:test";
import { hasCode } from "../errors/brine-error.ts";
import { FileError } from "../errors/file-error.ts";
import { listQuotas, setQuota } from "../wire/catalogue/quotas.ts";
import type { Client } from "./client.ts";
import type { Handle } from "./file-system.ts";
import { directory, file, keepPrivileges, makeFile, pattern, TestCluster } from "./testing/test-cluster.ts";

const kib = 1024;
const mib = 1024 * kib;
const unlimited = { bytes: undefined, inodes: undefined };

class Quotas {
  readonly cluster: TestCluster;

  constructor(cluster: TestCluster) {
    this.cluster = cluster;
  }

  static async start(context: TestContext): Promise<{ quotas: Quotas; one: Client; two: Client }> {
    const cluster = await TestCluster.start(context);
    const [one, two] = [await cluster.mount(), await cluster.mount()];
    return { quotas: new Quotas(cluster), one, two };
  }

  async set(
    kind: "volume" | "tree" | "user" | "group",
    of: string | number,
    limits: Partial<typeof unlimited> | object,
  ) {
    const path = typeof of === "string" ? of : "";
    const id = typeof of === "number" ? of : 0;
    const ends = Object.keys(limits).length === 0;
    await this.cluster.ask(setQuota, { volume: "home", kind, id, path, limits: { ...unlimited, ...limits }, ends });
  }

  /** When nothing is being counted. */
  async usage(kind: string, of: string | number): Promise<{ bytes: number; inodes: number }> {
    for (;;) {
      const { quotas } = await this.cluster.ask(listQuotas, { volume: "home", all: true });
      if (quotas.some(({ counting }) => counting)) continue;
      const found = quotas.find(
        ({ quota, path }) =>
          quota.subject.kind === kind && (typeof of === "string" ? path === of : quota.subject.id === of),
      );
      return { bytes: found?.quota.bytes ?? 0, inodes: found?.quota.inodes ?? 0 };
    }
  }
}

function isOver(error: unknown): boolean {
  return error instanceof FileError && error.code === "EDQUOT";
}

/** Bytes written until the first error, which must be EDQUOT, in calls of so many. */
async function fill(client: Client, handle: Handle, callBytes: number): Promise<number> {
  for (let offset = 0; ; ) {
    try {
      offset += await client.write(handle, offset, pattern(callBytes, offset), keepPrivileges);
    } catch (error) {
      assert.ok(isOver(error), String(error));
      return offset;
    }
  }
}

const owned = (uid: number) => ({ ...file, uid, gid: uid });

test("a user's limit is reached exactly, by the call that goes over it, and nothing is lost", async (context) => {
  const { quotas, one } = await Quotas.start(context);
  await quotas.set("user", 7, { bytes: 3 * mib + 100 * kib, inodes: 2 });
  const { handle, attributes } = await one.createAndOpen(one.root, "a", owned(7), {});
  assert.equal(await fill(one, handle, 256 * kib), 3 * mib + 100 * kib);
  await one.create(one.root, "b", owned(7));
  await assert.rejects(async () => one.create(one.root, "c", owned(7)), isOver);
  await one.create(one.root, "other", owned(8));
  // Overwriting takes nothing, and works.
  assert.equal(await one.write(handle, mib, pattern(mib, 9), keepPrivileges), mib);
  await one.sync(handle);
  assert.deepEqual(await quotas.usage("user", 7), { bytes: 3 * mib + 100 * kib, inodes: 2 });
  // Removing works, and what is removed can be used at once.
  one.close(handle);
  await one.unlink(one.root, "a");
  const again = await one.createAndOpen(one.root, "c", owned(7), {});
  assert.equal(await fill(one, again.handle, mib), 3 * mib + 100 * kib);
  assert.notEqual(again.attributes.inode, attributes.inode);
});

test("two clients reach one limit together: none is refused while the other has unused grants", async (context) => {
  const { quotas, one, two } = await Quotas.start(context);
  await one.create(one.root, "d", directory);
  await quotas.set("tree", "/d", { bytes: 20 * mib });
  const inode = (await two.lookup(two.root, "d"))!.inode;
  const handles = await Promise.all(
    [one, two].map(async (client, at) => (await client.createAndOpen(inode, `f${at}`, file, {})).handle),
  );
  const written = await Promise.all([fill(one, handles[0]!, 64 * kib), fill(two, handles[1]!, 100 * kib)]);
  const left = 20 * mib - written[0]! - written[1]!;
  // Who is refused wants more than is left; two at the same moment may both.
  assert.ok(left >= 0 && left < 64 * kib, `${left} bytes were left`);
  await Promise.all([one.sync(handles[0]!), two.sync(handles[1]!)]);
  const space = await one.statVolume(inode);
  assert.deepEqual([space.totalBytes, space.freeBytes], [20 * mib, left]);
  assert.ok((await one.statVolume(one.root)).totalBytes > 20 * mib);
  // What one removes the other can use.
  one.close(handles[0]!);
  await one.unlink(inode, "f0");
  const more = await two.createAndOpen(inode, "g", file, {});
  assert.equal((await fill(two, more.handle, mib)) + written[1]!, 20 * mib);
});

test("a directory with files gets a quota: they are counted, whoever has them open; and taken out again", async (context) => {
  const { quotas, one } = await Quotas.start(context);
  const top = (await one.create(one.root, "d", directory)).inode;
  let at = top;
  for (let depth = 0; depth < 5; depth++) at = (await one.create(at, "sub", directory)).inode;
  for (let count = 0; count < 300; count++) await one.create(at, `f${count}`, file);
  const { handle } = await one.createAndOpen(at, "open", file, {});
  await one.write(handle, 0, pattern(mib, 1), keepPrivileges);
  await quotas.set("tree", "/d", { bytes: 2 * mib, inodes: 1000 });
  assert.deepEqual(await quotas.usage("tree", "/d"), { bytes: mib, inodes: 307 });
  assert.equal(await one.write(handle, mib, pattern(2 * mib, 1), keepPrivileges), mib);
  await assert.rejects(async () => one.write(handle, 2 * mib, pattern(1, 1), keepPrivileges), isOver);
  await assert.rejects(quotas.set("tree", "/d/sub", { inodes: 5 }), (error) => hasCode(error, "invalid"));
  await quotas.set("tree", "/d", {});
  assert.deepEqual(await quotas.usage("tree", "/d"), { bytes: 0, inodes: 0 });
  assert.equal(await one.write(handle, 2 * mib, pattern(mib, 1), keepPrivileges), mib);
});

test("over the border: files move with what they take, directories and further names don't", async (context) => {
  const { quotas, one, two } = await Quotas.start(context);
  const inside = (await one.create(one.root, "in", directory)).inode;
  await quotas.set("tree", "/in", { bytes: mib, inodes: 3 });
  const code = (expected: string) => (error: unknown) => error instanceof FileError && error.code === expected;
  const handle = await makeFile(one, "f");
  await one.write(handle, 0, pattern(600 * kib, 3), keepPrivileges);
  await two.rename(two.root, "f", inside, "f", { noReplace: false });
  await two.statVolume(inside);
  assert.deepEqual(await quotas.usage("tree", "/in"), { bytes: 600 * kib, inodes: 2 });
  const big = await makeFile(one, "big");
  await one.write(big, 0, pattern(600 * kib, 3), keepPrivileges);
  await assert.rejects(async () => one.rename(one.root, "big", inside, "big", { noReplace: false }), isOver);
  await one.create(one.root, "sub", directory);
  await assert.rejects(async () => one.rename(one.root, "sub", inside, "sub", { noReplace: false }), code("EXDEV"));
  await assert.rejects(async () => one.link(big.inode, inside, "link"), code("EXDEV"));
  await one.link(big.inode, one.root, "big2");
  await assert.rejects(async () => one.rename(one.root, "big", inside, "big", { noReplace: false }), code("EXDEV"));
  await one.rename(inside, "f", one.root, "f", { noReplace: false });
  await one.rename(one.root, "in", one.root, "renamed", { noReplace: false });
  await one.statVolume(inside);
  assert.deepEqual(await quotas.usage("tree", "/renamed"), { bytes: 0, inodes: 1 });
});

test("a user's limit is reached exactly by files of several groups, whenever each is committed", async (context) => {
  const { quotas, one } = await Quotas.start(context);
  await quotas.set("user", 7, { inodes: 3 });
  const given = await one.createAndOpen(one.root, "given", file, {});
  await one.setAttributes(given.attributes.inode, { uid: 7 });
  await one.sync(given.handle);
  for (const name of ["one", "two"]) {
    const { handle } = await one.createAndOpen(one.root, name, owned(7), {});
    await one.sync(handle);
  }
  await assert.rejects(async () => one.create(one.root, "three", owned(7)), isOver);
  assert.equal((await quotas.usage("user", 7)).inodes, 3);
});

test("an exchange that needs quota of two directories ends, where there is only enough for one", async (context) => {
  const { quotas, one } = await Quotas.start(context);
  const inside: number[] = [];
  for (const name of ["d", "e"]) {
    inside.push((await one.create(one.root, name, directory)).inode);
    await quotas.set("tree", `/${name}`, { bytes: 2 * mib });
    const { handle } = await one.createAndOpen(inside.at(-1)!, "f", owned(7), {});
    await one.write(handle, 0, pattern(600 * kib, 1), keepPrivileges);
    one.close(handle);
  }
  const exchange = async () => one.exchange(inside[0]!, "f", inside[1]!, "f");
  await quotas.set("user", 7, { bytes: 1900 * kib });
  await assert.rejects(exchange, isOver);
  await quotas.set("user", 7, { bytes: 2400 * kib });
  await exchange();
});

test("chown moves usage; what is unlinked and open counts until it is closed; holes count nothing", async (context) => {
  const { quotas, one } = await Quotas.start(context);
  await quotas.set("user", 7, { bytes: 10 * mib });
  await quotas.set("group", 9, { bytes: mib });
  const { handle, attributes } = await one.createAndOpen(one.root, "a", owned(7), {});
  await one.write(handle, 0, pattern(2 * mib, 1), keepPrivileges);
  await assert.rejects(async () => one.setAttributes(attributes.inode, { gid: 9 }), isOver);
  await one.setAttributes(attributes.inode, { uid: 8 });
  await one.sync(handle);
  assert.deepEqual(await quotas.usage("user", 7), { bytes: 0, inodes: 0 });
  await one.setAttributes(attributes.inode, { uid: 7 });
  await one.unlink(one.root, "a");
  await one.sync(handle);
  assert.equal((await quotas.usage("user", 7)).bytes, 2 * mib);
  one.close(handle);
  while ((await quotas.usage("user", 7)).bytes > 0);
  const sparse = await one.createAndOpen(one.root, "sparse", owned(7), {});
  await one.setAttributes(sparse.attributes.inode, { size: 100 * mib });
  assert.equal(await one.write(sparse.handle, 96 * mib, pattern(mib, 1), keepPrivileges), mib);
  await one.sync(sparse.handle);
  assert.equal((await quotas.usage("user", 7)).bytes, 4 * mib);
});
