/** Two processes that talk: requests in both directions, answers, failures, bounds, ends. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, nothing, struct, text, u32 } from "../codec/schema.ts";
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { FileError } from "../errors/file-error.ts";
import { connectPeer, type Identity } from "./connect.ts";
import { listenPeers } from "./listen.ts";
import { method } from "./method.ts";
import type { Peer, RequestOptions } from "./peer.ts";
import { Service } from "./service.ts";
import { settle, type TestPlatform, testPlatform } from "./testing/memory-network.ts";

const address = "10.0.0.9:4100";
const identity: Identity = { role: "client", clusterId: "", peerId: "c1", description: "test" };
const soon: RequestOptions = { timeoutMs: 1000 };

const add = method(900, "test.add", struct({ left: u32, right: u32 }), struct({ sum: u32 }));
const reverse = method(901, "test.reverse", nothing, struct({ note: text(20) }));
const fail = method(902, "test.fail", struct({ how: text(20) }), nothing);
const hang = method(903, "test.hang", struct({ number: u32 }), nothing);
const store = method(904, "test.store", struct({ data: bytes(1000) }), nothing);

interface Pair {
  platform: TestPlatform;
  client: Peer & { serverId: string; clusterId: string };
  server: Peer;
  /** Handlers of `hang` that have been called, to be released. */
  hanging: Map<number, () => void>;
}

async function connected(service = new Service(), clientService = new Service()): Promise<Pair> {
  const platform = testPlatform();
  const hanging = new Map<number, () => void>();
  service
    .handle(add, ({ left, right }) => ({ sum: left + right }))
    .handle(reverse, (_, payload) => ({ body: { note: "done" }, payload: [Buffer.from(payload).reverse(), payload] }))
    .handle(fail, ({ how }) => {
      if (how === "brine") throw new BrineError("noSpace", "store 3 is full", { advice: "add a disk" });
      if (how === "file") throw new FileError("ENOTEMPTY");
      if (how === "rejected") return Promise.reject(new FileError("EROFS"));
      throw new TypeError("x is not a function");
    })
    .handle(hang, ({ number }) => new Promise((resolve) => hanging.set(number, () => resolve({}))));
  let server: Peer | undefined;
  await listenPeers(platform, address, {
    identity: () => ({ clusterId: "abc", serverId: "s1" }),
    service,
    onPeer: (peer) => {
      server = peer;
    },
  });
  const client = await connectPeer(platform, address, identity, clientService, 1000);
  return { platform, client, server: server!, hanging };
}

test("a request is answered", async () => {
  const { client, server } = await connected();
  assert.deepEqual((await client.request(add, { left: 2, right: 3 }, soon)).body, { sum: 5 });
  assert.deepEqual([client.serverId, client.clusterId, client.remote.role], ["s1", "abc", "server"]);
  assert.deepEqual([server.remote.peerId, server.remote.role, server.remote.description], ["c1", "client", "test"]);
});

test("the side that listens can ask, too", async () => {
  const { server } = await connected(
    new Service(),
    new Service().handle(store, () => ({})),
  );
  assert.deepEqual((await server.request(store, { data: new Uint8Array(3) }, soon)).body, {});
});

test("payloads pass in both directions, in chunks of any size", async () => {
  for (const chunkBytes of [1, 7, 1000, 65_536]) {
    const { client, platform } = await connected();
    platform.network.chunkBytes = chunkBytes;
    const payload = [Buffer.from("hello"), Buffer.alloc(0), Buffer.alloc(10_000, "ab")];
    const sent = Buffer.concat(payload);
    const reply = await client.request(reverse, {}, { ...soon, payload });
    assert.deepEqual(Buffer.from(reply.payload), Buffer.concat([Buffer.from(sent).reverse(), sent]));
  }
});

test("errors arrive as they were thrown; an unexpected one is logged and told as internal", async () => {
  const { client, platform } = await connected();
  await assert.rejects(client.request(fail, { how: "brine" }, soon), (error) => {
    assert.ok(hasCode(error, "noSpace"));
    assert.deepEqual([error.message, error.advice], ["store 3 is full", "add a disk"]);
    return true;
  });
  for (const [how, code] of [
    ["file", "ENOTEMPTY"],
    ["rejected", "EROFS"],
  ] as const) {
    await assert.rejects(
      client.request(fail, { how }, soon),
      (error) => error instanceof FileError && error.code === code,
    );
  }
  assert.deepEqual(platform.lines, []);
  await assert.rejects(client.request(fail, { how: "" }, soon), (error) => {
    assert.ok(hasCode(error, "internal"));
    assert.match(error.message, /test\.fail.*x is not a function/);
    return true;
  });
  assert.equal(platform.lines.length, 1);
  assert.match(platform.lines[0]!, /^error wire: request failed unexpectedly .*TypeError/);
  assert.equal(client.closed, false);
});

test("a response that its codec refuses is internal", async () => {
  const { client } = await connected(new Service().handle(store, () => "nonsense" as never));
  const broken = method(905, "test.broken", nothing, struct({ value: u32 }));
  await assert.rejects(client.request(broken, {}, soon), (error) => hasCode(error, "refused"));
  const other = await connected(new Service().handle(broken, () => ({ value: -1 })));
  await assert.rejects(other.client.request(broken, {}, soon), (error) => hasCode(error, "internal"));
});

test("a request beyond its codec's bounds fails alone", async () => {
  const { client } = await connected();
  await assert.rejects(client.request(store, { data: new Uint8Array(1001) }, soon), /1001 is above its bound 1000/);
  assert.equal((await client.request(add, { left: 1, right: 1 }, soon)).body.sum, 2);
});

test("roles are checked", async () => {
  const { client } = await connected(new Service().handle(store, () => ({}), { roles: ["store", "leader"] }));
  await assert.rejects(client.request(store, { data: new Uint8Array(1) }, soon), (error) => {
    assert.ok(hasCode(error, "refused"));
    assert.match(error.message, /test\.store is for store, leader; .* \(c1\) is client/);
    return true;
  });
});

test("a request times out at its deadline, whatever others have; its late answer is ignored", async () => {
  const { client, platform, hanging } = await connected();
  const outcomes: string[] = [];
  for (const [number, timeoutMs] of [
    [1, 500],
    [2, 100],
    [3, 300],
  ] as const) {
    client.request(hang, { number }, { timeoutMs }).then(
      () => outcomes.push(`${number} answered`),
      (error) => outcomes.push(`${number} ${error.code}`),
    );
  }
  await platform.clock.advance(99);
  assert.deepEqual(outcomes, []);
  await platform.clock.advance(2);
  assert.deepEqual(outcomes, ["2 timedOut"]);
  hanging.get(2)!();
  hanging.get(1)!();
  await platform.clock.advance(1000);
  assert.deepEqual(outcomes, ["2 timedOut", "1 answered", "3 timedOut"]);
  assert.equal(platform.clock.timerCount, 0);
  assert.deepEqual(platform.lines, []);
});

test("a signal aborts a request", async () => {
  const { client } = await connected();
  const controller = new AbortController();
  const request = client.request(hang, { number: 1 }, { timeoutMs: 100, signal: controller.signal });
  controller.abort(new Error("interrupted"));
  await assert.rejects(request, /interrupted/);
  await assert.rejects(
    client.request(hang, { number: 2 }, { timeoutMs: 100, signal: controller.signal }),
    /interrupted/,
  );
});

test("at the end of a connection everything under way fails, and both sides are told", async () => {
  const { client, server, platform } = await connected();
  const reasons: string[] = [];
  client.onClose((reason) => reasons.push(`client ${reason}`));
  server.onClose((reason) => reasons.push(`server ${reason}`));
  const request = client.request(hang, { number: 1 }, soon);
  await settle();
  server.close("session 7 was fenced");
  await assert.rejects(request, (error) => {
    assert.ok(hasCode(error, "closed"));
    assert.match(error.message, /test\.hang to 10\.0\.0\.9:4100 \(s1\).*closed by peer/);
    return true;
  });
  await assert.rejects(client.request(add, { left: 1, right: 1 }, soon), (error) => hasCode(error, "closed"));
  client.onClose((reason) => reasons.push(`late ${reason}`));
  assert.deepEqual(reasons, ["server session 7 was fenced", "client closed by peer", "late closed by peer"]);
  assert.equal(platform.clock.timerCount, 0);
  assert.deepEqual(platform.lines, []);
});

test("requests under way are bounded; the others wait in order, urgent ones don't", async () => {
  const { client, hanging, platform } = await connected();
  const outcomes: string[] = [];
  const ask = (number: number, timeoutMs: number) =>
    client.request(hang, { number }, { timeoutMs }).then(
      () => outcomes.push(`${number} answered`),
      (error) => outcomes.push(`${number} ${(error as Error).message}`),
    );
  for (let number = 0; number < 1024; number++) void ask(number, 10_000);
  void ask(2000, 10_000);
  void ask(2001, 500);
  void ask(2002, 10_000);
  await settle();
  assert.equal(hanging.size, 1024);
  assert.equal((await client.request(add, { left: 1, right: 2 }, { ...soon, urgent: true })).body.sum, 3);
  await platform.clock.advance(600);
  assert.deepEqual(outcomes, ["2001 test.hang to 10.0.0.9:4100 (s1): no turn to be sent within 500 ms"]);
  hanging.get(5)!();
  hanging.get(6)!();
  await settle();
  assert.deepEqual([...hanging.keys()].slice(1024), [2000, 2002]);
});

test("payload under way is bounded", async () => {
  const hungry = method(906, "test.hungry", nothing, nothing);
  let asked = 0;
  const { client } = await connected(new Service().handle(hungry, () => new Promise(() => asked++)));
  const payload = [Buffer.alloc(4 * 1024 * 1024)];
  for (let count = 0; count < 20; count++) client.request(hungry, {}, { timeoutMs: 1000, payload }).catch(() => {});
  await settle();
  await settle();
  assert.equal(asked, 16);
});

test("a peer that doesn't take its answers gets no further handlers started until it does", async () => {
  const large = method(907, "test.large", nothing, nothing);
  let asked = 0;
  const answer = { body: {}, payload: [Buffer.alloc(1024 * 1024)] };
  const service = new Service().handle(large, () => {
    asked += 1;
    return answer;
  });
  const platform = testPlatform();
  await listenPeers(platform, address, { identity: () => ({ clusterId: "", serverId: "s1" }), service });
  const client = await connectPeer(platform, address, identity, new Service(), 1000);
  const far = platform.network.connections[0]!.other;
  far.hold(true);
  let answered = 0;
  for (let count = 0; count < 20; count++) void client.request(large, {}, soon).then(() => answered++);
  await settle();
  assert.equal(asked, 4, "what fills the four MiB that the connection buffers");
  far.hold(false);
  await settle();
  await settle();
  assert.deepEqual([asked, answered], [20, 20]);
});

test("requests wait while the connection is full", async () => {
  const { client, platform } = await connected();
  assert.equal(platform.lines.length, 0);
  const near = platform.network.connections[0]!;
  near.hold(true);
  const payload = [Buffer.alloc(2 * 1024 * 1024)];
  const replies = [1, 2, 3, 4].map(() => client.request(reverse, {}, { ...soon, payload }));
  assert.ok(near.bufferedBytes < 7 * 1024 * 1024, "two and a bit fill it, the others wait");
  near.hold(false);
  for (const reply of replies) assert.equal((await reply).payload.byteLength, 4 * 1024 * 1024);
});
