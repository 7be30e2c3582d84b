/** The wire on the real platform: real sockets on loopback. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { nothing } from "../codec/schema.ts";
import { hasCode } from "../errors/brine-error.ts";
import { realPlatform } from "../platform/real.ts";
import { connectPeer, type Identity } from "./connect.ts";
import { listenPeers } from "./listen.ts";
import { method } from "./method.ts";
import { Service } from "./service.ts";

const identity: Identity = { role: "client", clusterId: "aaaa", peerId: "c1", description: "test" };
const echo = method(900, "test.echo", nothing, nothing);
const stop = method(901, "test.stop", nothing, nothing);

async function server(clusterId: string) {
  const lines: string[] = [];
  const platform = realPlatform({ logLevel: "info", logTo: (line) => lines.push(line) });
  const service = new Service().handle(echo, (_, payload) => ({ body: {}, payload: [payload] }));
  const ids = { clusterId, serverId: "s1" };
  const listener = await listenPeers(platform, "127.0.0.1:0", { identity: () => ids, service });
  return { platform, service, listener, lines };
}

test("payloads of any size cross real sockets whole", async () => {
  const { platform, listener } = await server("aaaa");
  const peer = await connectPeer(platform, listener.address, identity, new Service(), 5000);
  const sizes = [1, 4095, 65_536, 1024 * 1024 + 3, 4 * 1024 * 1024];
  await Promise.all(
    [...sizes, ...sizes].map(async (size, index) => {
      const payload = Buffer.alloc(size, `content ${index} `);
      const reply = await peer.request(echo, {}, { timeoutMs: 5000, payload: [payload] });
      assert.equal(Buffer.compare(reply.payload, payload), 0);
    }),
  );
  await listener.close();
});

test("a refusal arrives before the connection ends", async () => {
  const { platform, listener, lines } = await server("bbbb");
  await assert.rejects(connectPeer(platform, listener.address, identity, new Service(), 5000), (error) => {
    return hasCode(error, "wrongCluster");
  });
  assert.equal(lines.length, 1);
  await listener.close();
  await assert.rejects(connectPeer(platform, listener.address, identity, new Service(), 5000), (error) => {
    return hasCode(error, "unreachable");
  });
});

test("the last answers leave before the listener ends its connections", async () => {
  const { platform, service, listener, lines } = await server("aaaa");
  let closed: Promise<void> | undefined;
  service.handle(stop, () => {
    closed = listener.close();
    return { body: {}, payload: [Buffer.alloc(1024 * 1024)] };
  });
  const peer = await connectPeer(platform, listener.address, identity, new Service(), 5000);
  const reply = await peer.request(stop, {}, { timeoutMs: 5000 });
  assert.equal(reply.payload.byteLength, 1024 * 1024);
  await closed;
  const reason = await new Promise<string>((resolve) => peer.onClose(resolve));
  assert.match(reason, /closed by peer|ECONNRESET/);
  assert.deepEqual(lines, []);
});
