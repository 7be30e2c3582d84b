import { strict as assert } from "node:assert";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { SegmentLog } from "../log/segment-log.ts";
import { sleep } from "../platform/clock.ts";
import type { DiskError } from "../platform/disk.ts";
import { type Connection, closedByPeer } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { type SimulatedHost, World } from "./simulated-platform.ts";
import { SimulatedRandom } from "./simulated-random.ts";

/** Runs the world until the promise has settled, and gives its outcome. */
async function settle<T>(world: World, promise: Promise<T>, forMs = 60_000): Promise<T> {
  let settled = false;
  const watched = promise.finally(() => {
    settled = true;
  });
  watched.catch(() => {});
  const end = await world.scheduler.run(() => settled, { untilUs: world.scheduler.nowUs + forMs * 1_000 });
  if (!settled) throw new Error(`did not settle: ${end}`);
  return watched;
}

async function runFor(world: World, forMs: number): Promise<void> {
  await world.scheduler.run(() => false, { untilUs: world.scheduler.nowUs + forMs * 1_000 });
}

test("events of one moment come in an order of the seed, timers in the order of time", async () => {
  const orders = new Set<string>();
  for (const seed of [1, 2, 3, 4, 5]) {
    const world = new World(seed);
    const { incarnation } = world.host("a").boot();
    let order = "";
    for (const name of "abcd") incarnation.after(5, name, () => (order += name));
    incarnation.after(4, "first", () => (order += "<"));
    await runFor(world, 1);
    assert.match(order, /^<[abcd]{4}$/);
    orders.add(order);
  }
  assert.ok(orders.size > 1, "the seed has no say");
});

async function chatter(seed: number): Promise<{ digest: string; received: string }> {
  const world = new World(seed);
  const server = world.host("server").boot().platform;
  const client = world.host("client").boot().platform;
  let received = "";
  const talk = async () => {
    await server.network.listen("server:1", (connection) => {
      connection.start({
        onData: (bytes) => (received += `[${Buffer.from(bytes).toString("latin1")}]`),
        onDrain() {},
        onClose: (reason) => (received += `(${reason})`),
      });
    });
    const connection = await client.network.connect("server:1", 1_000);
    connection.start({ onData() {}, onDrain() {}, onClose() {} });
    for (let index = 0; index < 20; index++) {
      connection.send([Buffer.from(`message ${index} `), Buffer.from(client.random.bytes(3)).fill(97)]);
      await sleep(client.clock, client.random.below(3));
    }
    connection.destroy();
    await sleep(client.clock, 50);
  };
  await settle(world, talk());
  return { digest: world.scheduler.digest(), received };
}

test("the same seed gives the same digest; streams stay whole and in order, in pieces", async () => {
  const [first, again, other] = [await chatter(1), await chatter(1), await chatter(2)];
  assert.deepEqual(first, again);
  assert.notEqual(first.digest, other.digest);
  const expected = Array.from({ length: 20 }, (_, index) => `message ${index} aaa`).join("");
  assert.equal(first.received.replaceAll(/[[\]]|\(.*\)/g, ""), expected);
  assert.match(first.received, /\((closed by peer|ECONNRESET)\)$/);
});

test("what a connection handed out is overwritten, so that keeping it shows", async () => {
  const world = new World(3);
  const { server, client } = await connected(world);
  let kept: Uint8Array | undefined;
  server.start({ onData: (bytes) => (kept = bytes), onDrain() {}, onClose() {} });
  client.start({ onData() {}, onDrain() {}, onClose() {} });
  client.send([Buffer.from("x")]);
  await runFor(world, 10);
  assert.notEqual(kept![0], "x".charCodeAt(0));
});

async function connected(world: World): Promise<{ server: Connection; client: Connection }> {
  const platform = world.host("client").boot().platform;
  const listening = world.host("server").boot().platform;
  let server: Connection | undefined;
  const pair = (async () => {
    await listening.network.listen("server:1", (connection) => (server = connection));
    return platform.network.connect("server:1", 1_000);
  })();
  const client = await settle(world, pair);
  return { server: server!, client };
}

test("a killed process refuses and ends its connections; a machine without power is silent until it is back", async () => {
  for (const power of [false, true]) {
    const world = new World(7);
    const { server, client } = await connected(world);
    let closed = "";
    server.start({ onData() {}, onDrain() {}, onClose() {} });
    client.start({ onData() {}, onDrain() {}, onClose: (reason) => (closed = reason) });
    world.host("server").kill({ power });
    await runFor(world, 100);
    assert.equal(closed, power ? "" : closedByPeer);
    const other = world.host("other").boot().platform;
    const code = await settle(
      world,
      other.network.connect("server:1", 3_000).catch((error) => error.code),
    );
    assert.equal(code, power ? "ETIMEDOUT" : "ECONNREFUSED");
    world.host("server").boot();
    client.send([Buffer.from("still there?")]);
    await runFor(world, 2_000);
    assert.equal(closed, power ? "ECONNRESET" : closedByPeer);
  }
});

test("a cut link delays, in one direction, and loses nothing", async () => {
  const world = new World(8);
  const { server, client } = await connected(world);
  const got = { server: "", client: "" };
  server.start({ onData: (bytes) => (got.server += Buffer.from(bytes)), onDrain() {}, onClose() {} });
  client.start({ onData: (bytes) => (got.client += Buffer.from(bytes)), onDrain() {}, onClose() {} });
  world.fabric.link("client", "server").setCut(true);
  client.send([Buffer.from("to the server")]);
  server.send([Buffer.from("to the client")]);
  await runFor(world, 1_000);
  assert.deepEqual(got, { server: "", client: "to the client" });
  world.fabric.healAll();
  await runFor(world, 1_000);
  assert.equal(got.server, "to the server");
});

test("a paused process gets everything late, in order; a killed one nothing", async () => {
  const world = new World(9);
  const { incarnation, platform } = world.host("a").boot();
  const fired: number[] = [];
  for (const delayMs of [30, 10, 20]) platform.clock.startTimer(delayMs, () => fired.push(delayMs));
  platform.clock.startTimer(15, () => fired.push(-1)).cancel();
  incarnation.pause();
  await runFor(world, 100);
  assert.equal(fired.length, 0);
  incarnation.resume();
  await runFor(world, 1);
  assert.deepEqual(fired, [10, 20, 30]);
  platform.clock.startTimer(5, () => fired.push(5));
  world.host("a").kill({ power: false });
  await runFor(world, 100);
  assert.deepEqual(fired, [10, 20, 30]);
});

test("a loss of power drops, keeps or tears what was not synced, and nothing else", async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 60; seed++) {
    const world = new World(seed);
    const host = world.host("a");
    const write = async ({ disk }: Platform) => {
      await disk.makeDirectory("/d");
      const file = await disk.open("/d/f", { create: true });
      await file.write([Buffer.alloc(1024, "s")], 0);
      await file.syncData();
      await disk.syncDirectory("/d");
      await file.write([Buffer.alloc(1024, "u")], 512);
    };
    await settle(world, write(host.boot().platform));
    host.kill({ power: true });
    const content = await settle(world, host.boot().platform.disk.readFile("/d/f"));
    const text = Buffer.from(content!).toString("latin1").replaceAll("\0", "0");
    assert.match(text, /^s{512}(s{512}|u{512})(|0{512}|u{512})$/);
    seen.add(text);
  }
  assert.ok(seen.size >= 4, `only ${seen.size} outcomes`);
});

test("a sector that can't be read stays so over a loss of power, until it is written anew or given back", async () => {
  const world = new World(1);
  const host = world.host("a");
  const open = async ({ disk }: Platform) => {
    await disk.makeDirectory("/d");
    const file = await disk.open("/d/f", { create: true, durable: true });
    await disk.syncDirectory("/d");
    return file;
  };
  let file = await settle(world, open(host.boot().platform));
  const reads = (page: number) => settle(world, file.read(Buffer.alloc(4096), page * 4096));
  const spoil = () => host.medium.file("/d/f")!.spoil(4096, 4096, new SimulatedRandom("sector"));
  await settle(world, file.write([Buffer.alloc(3 * 4096, "w")], 0));
  spoil();
  assert.equal(await reads(0), 4096);
  await assert.rejects(reads(1), { code: "EIO" });
  host.kill({ power: true });
  file = await settle(world, open(host.boot().platform));
  await assert.rejects(reads(1), { code: "EIO" });
  assert.equal(await reads(2), 4096);
  await settle(world, file.write([Buffer.alloc(4096, "n")], 4096));
  assert.equal(await reads(1), 4096);
  spoil();
  await settle(world, file.punch(4096, 4096));
  assert.equal(await reads(1), 4096);
});

test("the death of a process alone loses nothing that was written", async () => {
  const world = new World(1);
  const host = world.host("a");
  const write = async ({ disk }: Platform) => {
    await disk.makeDirectory("/d");
    const file = await disk.open("/d/f", { create: true });
    await file.write([Buffer.from("written")], 0);
  };
  await settle(world, write(host.boot().platform));
  host.kill({ power: false });
  const content = await settle(world, host.boot().platform.disk.readFile("/d/f"));
  assert.equal(Buffer.from(content!).toString(), "written");
});

test("an entry that was not synced may be gone, or be back", async () => {
  const outcomes = new Set<string>();
  for (let seed = 0; seed < 30; seed++) {
    const world = new World(seed);
    const host = world.host("a");
    const change = async ({ disk }: Platform) => {
      await disk.writeFile("/old", Buffer.from("old"));
      await (await disk.open("/new", { create: true })).syncData();
      await disk.remove("/old");
    };
    await settle(world, change(host.boot().platform));
    host.kill({ power: true });
    outcomes.add((await settle(world, host.boot().platform.disk.list(""))).join());
  }
  assert.deepEqual([...outcomes].sort(), ["", "new", "new,old", "old"]);
});

test("a full disk, a failing sync, a stall", async () => {
  const world = new World(1);
  const host = world.host("a");
  const { platform } = host.boot();
  const file = await settle(world, platform.disk.open("/f", { create: true }));
  host.medium.capacityBytes = 8192;
  await assert.rejects(settle(world, file.write([Buffer.alloc(8193)], 0)), { code: "ENOSPC" });
  await settle(world, file.write([Buffer.alloc(8192)], 0));
  await settle(world, file.punch(0, 4096));
  await settle(world, file.write([Buffer.alloc(4096)], 8192));
  host.medium.failingSyncs = 1;
  await assert.rejects(settle(world, file.syncData()), (error: DiskError) => error.code === "EIO");
  const startUs = world.scheduler.nowUs;
  host.medium.stalledUntilUs = startUs + 5_000_000;
  await settle(world, file.size());
  assert.ok(world.scheduler.nowUs >= startUs + 5_000_000);
});

test("a database falls back to a commit that is not older than its checkpoint", async () => {
  const left = new Set<string>();
  for (let seed = 0; seed < 30; seed++) {
    const world = new World(seed);
    const host = world.host("a");
    const key = Buffer.from("k");
    const change = async ({ keyValue }: Platform) => {
      const database = await keyValue.open("/db");
      for (const value of ["1", "2", "3", "4"]) {
        database.put(key, Buffer.from(value));
        database.commit();
        if (value === "2") await database.checkpoint();
      }
      database.put(key, Buffer.from("uncommitted"));
    };
    await settle(world, change(host.boot().platform));
    host.kill({ power: true });
    const database = await settle(world, host.boot().platform.keyValue.open("/db"));
    left.add(Buffer.from(database.get(key)!).toString());
  }
  assert.deepEqual([...left].sort(), ["2", "3", "4"]);
});

/** Appends numbered records until killed, and keeps those that were acknowledged. */
async function appendUntilKilled(host: SimulatedHost, world: World, seed: number): Promise<void> {
  const acknowledged: number[] = [];
  const random = world.scheduler.random.fork("appends");
  let next = 0;
  for (let life = 0; life < 6; life++) {
    const { platform } = host.boot();
    const found: number[] = [];
    const open = SegmentLog.open(platform, {
      directory: "/log",
      kind: "TEST",
      segmentBytes: 256 * 1024,
      onRecord: ({ descriptor }) => found.push(Number(Buffer.from(descriptor).toString())),
    });
    const log = await settle(world, open);
    const [lost] = acknowledged.filter((number) => !found.includes(number));
    assert.equal(lost, undefined, `seed ${seed}: record ${lost} is lost`);
    assert.deepEqual(
      found,
      [...found].sort((left, right) => left - right),
      `seed ${seed}: order`,
    );
    const append = async () => {
      for (;;) {
        const number = next++;
        await log.append(Buffer.from(`${number}`), [Buffer.alloc(4096 * random.below(4), number)]);
        acknowledged.push(number);
      }
    };
    for (let writer = 0; writer < 4; writer++) append().catch(() => {});
    await runFor(world, random.below(30));
    host.kill({ power: random.chance(0.7) });
  }
}

test("a segment log on this disk keeps what it acknowledged, through kills and losses of power", async () => {
  for (let seed = 0; seed < 15; seed++) {
    const world = new World(seed);
    await appendUntilKilled(world.host("a"), world, seed);
  }
});

test("the digest does not depend on the folder in which the sources are", () => {
  const digestOf = (error: string) => {
    const world = new World(1);
    world.log.add("warn", "did not start", { error });
    return world.scheduler.digest();
  };
  const url = new URL("../..", import.meta.url).href;
  const stack = new Error("planted").stack!;
  assert.ok(stack.includes(url));
  assert.equal(digestOf(stack), digestOf(stack.replaceAll(url, "")));
  assert.equal(digestOf(`ENOENT: ${fileURLToPath(url)}src`), digestOf("ENOENT: src"));
  assert.notEqual(digestOf(stack), digestOf("ENOENT: src"));
});
