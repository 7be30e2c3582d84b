/** What both ends of a request say of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { nothing } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import type { Series } from "../metrics/metrics.ts";
import { connectPeer } from "./connect.ts";
import { listenPeers } from "./listen.ts";
import { method } from "./method.ts";
import { RequestMetrics } from "./request-metrics.ts";
import { Service } from "./service.ts";
import { type ManualClock, settle, testPlatform } from "./testing/memory-network.ts";

const slow = method(900, "leader.slow", nothing, nothing);
const refused = method(901, "store.refused", nothing, nothing);

async function connected() {
  const platform = testPlatform();
  const gate = Promise.withResolvers<void>();
  const service = new Service()
    .handle(slow, async (_body, _payload, _peer, work) => {
      work.diskMs = 30;
      await gate.promise;
      return {};
    })
    .handle(refused, () => {
      throw new BrineError("busy", "not now");
    });
  const identity = () => ({ clusterId: "abc", serverId: "s1" });
  await listenPeers(platform, "10.0.0.9:1", { identity, service });
  const own = { role: "client", clusterId: "", peerId: "c1", description: "test" } as const;
  const client = await connectPeer(platform, "10.0.0.9:1", own, new Service(), 1000);
  return { platform, clock: platform.clock as ManualClock, service, client, gate };
}

function find(all: readonly Series[], name: string, label: string): Series {
  const found = all.find((one) => one.name === name && Object.values(one.labels).includes(label));
  assert.ok(found, `${name} ${label}`);
  return found;
}

test("a round trip is split into network, work and the disk's part of it", async () => {
  const { platform, clock, service, client, gate } = await connected();
  const asked = client.request(slow, {}, { timeoutMs: 1000 });
  await settle();
  assert.deepEqual(
    [...service.underWay].map(({ registration, peer }) => [registration.method.name, peer.remote.role]),
    [["leader.slow", "client"]],
  );
  await clock.advance(50);
  gate.resolve();
  await asked;
  assert.equal(service.underWay.size, 0);
  const series = platform.metrics.series();
  assert.equal(find(series, "brine_request_seconds", "10.0.0.9:1").value, 0.05);
  assert.equal(find(series, "brine_request_network_seconds", "leader.slow").value, 0);
  assert.equal(find(series, "brine_served_seconds", "client").value, 0.05);
  assert.equal(find(series, "brine_served_disk_seconds", "leader.slow").value, 0.03);
  assert.deepEqual(RequestMetrics.of(platform.metrics).totals("leader"), { networkMs: 0, workMs: 50, diskMs: 30 });
  assert.deepEqual(RequestMetrics.of(platform.metrics).totals("store"), { networkMs: 0, workMs: 0, diskMs: 0 });
});

test("failures are counted on both sides, and no request stays under way", async () => {
  const { platform, service, client } = await connected();
  await assert.rejects(client.request(refused, {}, { timeoutMs: 1000 }));
  const series = platform.metrics.series();
  assert.equal(find(series, "brine_request_failures_total", "store.refused").value, 1);
  assert.equal(find(series, "brine_served_failures_total", "busy").value, 1);
  assert.equal(service.underWay.size, 0);
});

test("what was under way when the connection ended is forgotten when its handler ends", async () => {
  const { service, client, gate } = await connected();
  const asked = client.request(slow, {}, { timeoutMs: 1000 });
  await settle();
  client.close("test");
  await assert.rejects(asked);
  assert.equal(service.underWay.size, 1);
  gate.resolve();
  await settle();
  assert.equal(service.underWay.size, 0);
});
