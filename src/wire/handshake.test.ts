/** The hello between real ends of a connection: accepted, refused, late, missing, or something else altogether. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Writer } from "../codec/buffers.ts";
import { nothing, struct, u32 } from "../codec/schema.ts";
import { type BrineError, hasCode } from "../errors/brine-error.ts";
import { hello, helloRequest, protocolVersion } from "./catalogue/handshake.ts";
import { connectPeer, type Identity } from "./connect.ts";
import { writeFrame } from "./frame.ts";
import { acceptHello, helloOf } from "./handshake.ts";
import { listenPeers } from "./listen.ts";
import { method } from "./method.ts";
import type { Peer } from "./peer.ts";
import { Service } from "./service.ts";
import { type MemoryConnection, settle, testPlatform } from "./testing/memory-network.ts";

const address = "10.0.0.9:4100";
const identity: Identity = { role: "store", clusterId: "aaaa", peerId: "c1", description: "test" };
const ping = method(900, "test.ping", nothing, struct({ count: u32 }));

async function server(clusterId = "aaaa") {
  const platform = testPlatform();
  const peers: Peer[] = [];
  let count = 0;
  const service = new Service().handle(ping, () => ({ count: ++count }));
  const options = {
    identity: () => ({ clusterId, serverId: "s1" }),
    service,
    onPeer: (peer: Peer) => void peers.push(peer),
  };
  const listener = await listenPeers(platform, address, options);
  return { platform, peers, listener };
}

/** A connection on which the test sends bytes itself; `received` is what came back, `ended` why it ended. */
async function raw(platform: ReturnType<typeof testPlatform>) {
  const connection: MemoryConnection = await platform.network.connect(address);
  const state = { received: Buffer.alloc(0), ended: "" };
  connection.start({
    onData: (bytes) => {
      state.received = Buffer.concat([state.received, bytes]);
    },
    onDrain: () => {},
    onClose: (reason) => {
      state.ended = reason;
    },
  });
  return { connection, state };
}

function frameOf(kind: number, requestId: number, methodId: number, body: Uint8Array): Buffer {
  return Buffer.from(writeFrame(new Writer(), { kind, requestId, methodId }, (writer) => writer.raw(body), 0));
}

function helloFrame(version = protocolVersion): Buffer {
  const body = new Writer();
  helloRequest.write(body, { ...helloOf(identity), version });
  return frameOf(0, 0, hello.id, body.view());
}

async function refusal(promise: Promise<unknown>): Promise<BrineError> {
  return await promise.then(
    () => assert.fail("accepted"),
    (error) => error,
  );
}

test("another cluster is refused by name, on both sides", async () => {
  const { platform, peers } = await server("bbbb");
  const error = await refusal(connectPeer(platform, address, identity, new Service(), 1000));
  assert.ok(hasCode(error, "wrongCluster"));
  assert.match(error.message, /bbbb.*aaaa/);
  assert.match(error.advice!, /address/);
  assert.deepEqual(peers, []);
  assert.equal(platform.lines.length, 1);
  assert.match(platform.lines[0]!, /^warn wire: connection refused .*wrongCluster/);
  await settle();
  assert.equal(platform.clock.timerCount, 0);
});

test("a side that knows no cluster yet is accepted", async () => {
  const { platform } = await server("bbbb");
  const peer = await connectPeer(platform, address, { ...identity, clusterId: "" }, new Service(), 1000);
  assert.equal(peer.clusterId, "bbbb");
  const other = await server("");
  assert.equal((await connectPeer(other.platform, address, identity, new Service(), 1000)).clusterId, "");
});

test("capabilities: demanded ones are there or the connection isn't", async () => {
  const { platform } = await server();
  const demanding = { ...identity, demanded: ["tls"] };
  const error = await refusal(connectPeer(platform, address, demanding, new Service(), 1000));
  assert.ok(hasCode(error, "refused"));
  assert.match(error.message, /tls is demanded.*offers none/);
  await connectPeer(platform, address, { ...identity, wanted: ["tls"] }, new Service(), 1000);

  const request = { ...helloOf(identity), wanted: ["a", "x"], demanded: ["b"] };
  const response = acceptHello(request, { clusterId: "aaaa", serverId: "s1" }, ["a", "b", "c"]);
  assert.deepEqual(response.granted, ["a", "b"]);
});

test("another version is told both versions, even if the rest of its hello is unreadable", async () => {
  const { platform } = await server();
  const other = protocolVersion + 1;
  for (const frame of [helloFrame(other), frameOf(0, 0, hello.id, Buffer.from([other, 0, 1, 2, 3]))]) {
    const { connection, state } = await raw(platform);
    connection.send([frame]);
    await settle();
    assert.match(
      state.received.toString("latin1"),
      new RegExp(`versionMismatch.*version ${protocolVersion} .*speaks ${other}`, "s"),
    );
    assert.equal(state.ended, "", "left open until it was read");
    await platform.clock.advance(1000);
    assert.equal(state.ended, "closed by peer");
  }
  assert.equal(platform.lines.length, 2);
});

test("nothing is accepted before the hello", async () => {
  const { platform, peers } = await server();
  for (const frame of [
    frameOf(0, 1, ping.id, Buffer.alloc(0)),
    frameOf(1, 0, hello.id, Buffer.alloc(0)),
    frameOf(0, 0, hello.id, Buffer.alloc(1)),
    frameOf(0, 0, hello.id, Buffer.alloc(100_000)),
  ]) {
    platform.lines.length = 0;
    const { connection, state } = await raw(platform);
    connection.send([frame]);
    await settle();
    assert.equal(state.ended, "closed by peer");
    assert.equal(platform.lines.length, 1);
    assert.match(platform.lines[0]!, /^warn wire: connection dropped {"remote":"10\.0\.0\.1:\d+","reason":/);
  }
  assert.deepEqual(peers, []);
});

test("who says nothing is dropped after five seconds", async () => {
  const { platform } = await server();
  const { state } = await raw(platform);
  await platform.clock.advance(4999);
  assert.equal(state.ended, "");
  await platform.clock.advance(1);
  assert.equal(state.ended, "closed by peer");
  assert.equal(platform.lines.length, 1);
});

test("rubbish costs its connection and one line; others don't notice", async () => {
  const { platform } = await server();
  const good = await connectPeer(platform, address, identity, new Service(), 1000);
  const after = fc.oneof(fc.constant(Buffer.alloc(0)), fc.constant(helloFrame()));
  await fc.assert(
    fc.asyncProperty(after, fc.uint8Array({ minLength: 24, maxLength: 200 }), async (first, rubbish) => {
      await platform.clock.advance(60_000); // the log of connections is bounded in each minute
      platform.lines.length = 0;
      const { connection, state } = await raw(platform);
      connection.send([first, rubbish]);
      await settle();
      if (state.ended === "")
        connection.destroy(); // lengths within bounds: it waits for the rest
      else assert.equal(platform.lines.length, 1, platform.lines.join("\n"));
      await settle();
      await good.request(ping, {}, { timeoutMs: 1000 });
    }),
    { numRuns: 100 },
  );
});

test("whoever is no brinefs server is told apart from one that is not there", async () => {
  const platform = testPlatform();
  const nobody = await refusal(connectPeer(platform, address, identity, new Service(), 1000));
  assert.ok(hasCode(nobody, "unreachable"));
  assert.match(nobody.message, /10\.0\.0\.9:4100 can't be reached: ECONNREFUSED/);
  assert.match(nobody.advice!, /brine server/);

  const answers = ["HTTP/1.1 400 Bad Request\r\n\r\n", "", undefined];
  await platform.network.listen(address, (connection) => {
    const answer = answers.shift();
    connection.start({ onData: () => {}, onDrain: () => {}, onClose: () => {} });
    if (answer) connection.send([Buffer.from(answer)]);
    else if (answer === "") connection.destroy();
  });
  assert.ok(hasCode(await refusal(connectPeer(platform, address, identity, new Service(), 1000)), "protocol"));
  assert.ok(hasCode(await refusal(connectPeer(platform, address, identity, new Service(), 1000)), "closed"));
  const silent = refusal(connectPeer(platform, address, identity, new Service(), 1000));
  await platform.clock.advance(1000);
  assert.ok(hasCode(await silent, "timedOut"));
  await settle();
  assert.equal(platform.clock.timerCount, 0);
});

test("closing the listener ends its connections", async () => {
  const { platform, listener, peers } = await server();
  const peer = await connectPeer(platform, address, identity, new Service(), 1000);
  const { state } = await raw(platform);
  await listener.close();
  await settle();
  assert.equal(peer.closed, true);
  assert.equal(peers[0]!.closed, true);
  assert.equal(state.ended, "closed by peer");
  assert.equal(platform.clock.timerCount, 0);
  assert.ok(hasCode(await refusal(connectPeer(platform, address, identity, new Service(), 1000)), "unreachable"));
});

test("strangers are bounded, and shut nobody out: the oldest go, with one line", async () => {
  const { platform } = await server();
  const all = [];
  for (let count = 0; count < 1030; count++) all.push(await raw(platform));
  await settle();
  const ended = all.map(({ state }) => state.ended !== "");
  assert.deepEqual(ended.slice(0, 7), [true, true, true, true, true, true, false]);
  assert.equal(ended.filter(Boolean).length, 6);
  assert.equal(platform.lines.length, 1, platform.lines.join("\n"));
  const peer = await connectPeer(platform, address, identity, new Service(), 1000);
  await peer.request(ping, {}, { timeoutMs: 1000 });
});

test("strangers who come again and again don't fill the log: what is left out is counted", async () => {
  const { platform, listener } = await server();
  const rubbish = async () => (await raw(platform)).connection.send([Buffer.alloc(30, 0xff)]);
  for (let count = 0; count < 200; count++) await rubbish();
  await settle();
  assert.equal(platform.lines.length, 30);
  await platform.clock.advance(60_000);
  assert.match(platform.lines[30]!, /left out {"lines":170,/);
  await rubbish();
  await settle();
  assert.match(platform.lines[31]!, /connection dropped/);
  await listener.close();
  assert.equal(platform.clock.timerCount, 0);
});

test("a peer that asks without end is dropped", async () => {
  const { platform, peers } = await server();
  const never = method(901, "test.never", nothing, nothing);
  const service = new Service().handle(never, () => new Promise(() => {}));
  const other = "10.0.0.9:4200";
  await listenPeers(platform, other, { identity: () => ({ clusterId: "", serverId: "s2" }), service });
  const connection = await platform.network.connect(other);
  let ended = "";
  connection.start({ onData: () => {}, onDrain: () => {}, onClose: (reason) => (ended = reason) });
  connection.send([helloFrame()]);
  for (let id = 1; id <= 4096; id++) connection.send([frameOf(0, id, never.id, Buffer.alloc(0))]);
  await settle();
  assert.equal(ended, "");
  connection.send([frameOf(0, 5000, never.id, Buffer.alloc(0))]);
  await settle();
  assert.equal(ended, "closed by peer");
  assert.equal(platform.lines.length, 1);
  assert.match(platform.lines[0]!, /"peer":"c1","reason":"4097 requests/);
  assert.deepEqual(peers, []);
});
