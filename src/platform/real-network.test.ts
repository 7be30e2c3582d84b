/** TCP on loopback: bytes, back pressure, ends and errors. */
import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { joinAddress, splitAddress } from "./address.ts";
import type { Connection, ConnectionEvents } from "./network.ts";
import { realNetwork } from "./real-network.ts";

/** Collects what arrives on a connection. */
class Collector implements ConnectionEvents {
  readonly closed: Promise<string>;
  bytes = 0;
  readonly hash = createHash("md5");
  #closedWith!: (reason: string) => void;
  #wanted = Number.POSITIVE_INFINITY;
  #reached: () => void = () => {};
  #drained: () => void = () => {};
  closes = 0;

  constructor() {
    this.closed = new Promise((resolve) => {
      this.#closedWith = resolve;
    });
  }

  onData(bytes: Uint8Array): void {
    this.bytes += bytes.byteLength;
    this.hash.update(bytes);
    if (this.bytes >= this.#wanted) this.#reached();
  }

  onDrain(): void {
    this.#drained();
  }

  onClose(reason: string): void {
    this.closes += 1;
    this.#closedWith(reason);
  }

  received(count: number): Promise<void> {
    this.#wanted = count;
    return new Promise((resolve) => {
      this.#reached = resolve;
      if (this.bytes >= count) resolve();
    });
  }

  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#drained = resolve;
    });
  }
}

/** Both ends of a new connection, started. */
async function pair(address = "127.0.0.1:0") {
  let accept: (connection: Connection) => void;
  const accepted = new Promise<Connection>((resolve) => {
    accept = resolve;
  });
  const [clientEvents, serverEvents] = [new Collector(), new Collector()];
  const listener = await realNetwork.listen(address, (connection) => {
    connection.start(serverEvents);
    accept(connection);
  });
  const client = await realNetwork.connect(listener.address, 5000);
  client.start(clientEvents);
  const server = await accepted;
  const close = async () => {
    client.destroy();
    server.destroy();
    await listener.close();
  };
  return { listener, client, server, clientEvents, serverEvents, close };
}

/** Sends pseudo-random buffers of many sizes, keeping to back pressure; returns bytes and hash. */
async function sendMany(connection: Connection, events: Collector, total: number) {
  const hash = createHash("md5");
  let [sent, refusals] = [0, 0];
  for (let size = 1; sent < total; size = (size * 3 + 1) % 300_000) {
    const buffers = [Buffer.alloc(size, size), Buffer.alloc(0), new Uint8Array(7).fill(size)];
    for (const buffer of buffers) hash.update(buffer);
    sent += size + 7;
    if (!connection.send(buffers)) {
      refusals += 1;
      assert.ok(connection.bufferedBytes >= 4 * 1024 * 1024);
      assert.ok(connection.bufferedBytes < 5 * 1024 * 1024);
      await events.drain();
      assert.ok(connection.bufferedBytes < 4 * 1024 * 1024);
    }
  }
  return { sent, refusals, digest: hash.digest("hex") };
}

test("bytes arrive in order, both ways at once, with back pressure", async () => {
  const { client, server, clientEvents, serverEvents, close } = await pair();
  const [up, down] = await Promise.all([
    sendMany(client, clientEvents, 50_000_000),
    sendMany(server, serverEvents, 50_000_000),
  ]);
  await Promise.all([serverEvents.received(up.sent), clientEvents.received(down.sent)]);
  assert.equal(serverEvents.hash.digest("hex"), up.digest);
  assert.equal(clientEvents.hash.digest("hex"), down.digest);
  assert.ok(up.refusals + down.refusals > 0, "back pressure was felt");
  assert.equal(client.bufferedBytes, 0);
  await close();
});

test("both ends hear of an end, once", async () => {
  const { client, server, clientEvents, serverEvents, close } = await pair();
  client.destroy();
  client.destroy();
  assert.equal(client.send([Buffer.from("too late")]), true);
  assert.equal(await clientEvents.closed, "closed here");
  assert.equal(await serverEvents.closed, "closed by peer");
  server.destroy();
  assert.deepEqual([clientEvents.closes, serverEvents.closes], [1, 1]);
  await close();
});

test("a listener that is closed leaves its connections and frees its address", async () => {
  const { listener, client, serverEvents, close } = await pair();
  await assert.rejects(
    realNetwork.listen(listener.address, () => {}),
    { name: "NetworkError", code: "EADDRINUSE" },
  );
  await listener.close();
  client.send([Buffer.from("still here")]);
  await serverEvents.received(10);
  await assert.rejects(realNetwork.connect(listener.address, 1000), { name: "NetworkError", code: "ECONNREFUSED" });
  const again = await realNetwork.listen(listener.address, () => {});
  await again.close();
  await close();
});

test("a small message goes back and forth without delay", async () => {
  const { client, server, clientEvents, serverEvents, close } = await pair();
  for (let round = 1; round <= 100; round++) {
    client.send([Buffer.from("ping")]);
    await serverEvents.received(round * 4);
    server.send([Buffer.from("pong")]);
    await clientEvents.received(round * 4);
  }
  await close();
});

test("IPv6 and host names", async () => {
  for (const address of ["[::1]:0", "localhost:0"]) {
    const { client, serverEvents, close } = await pair(address);
    client.send([Buffer.from("hello")]);
    await serverEvents.received(5);
    await close();
  }
});

test("addresses", () => {
  assert.deepEqual(splitAddress("[fe80::1]:7411"), { host: "fe80::1", port: 7411 });
  assert.deepEqual(splitAddress("host:1"), { host: "host", port: 1 });
  assert.equal(joinAddress("::1", 5), "[::1]:5");
  for (const wrong of ["host", "host:", ":1", "host:99999", "a:b:1", "::1:1"]) {
    assert.throws(() => splitAddress(wrong), { code: "EINVAL" }, wrong);
  }
});
