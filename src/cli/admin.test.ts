/** Commands find the leader through whichever server of the cluster they are told. */
import { strict as assert } from "node:assert";
import { type TestContext, test } from "node:test";
import { BrineError, hasCode } from "../errors/brine-error.ts";
import type { Address } from "../platform/network.ts";
import { realPlatform } from "../platform/real.ts";
import { checkChunks, deleteVolume } from "../wire/catalogue/admin.ts";
import { listenPeers } from "../wire/listen.ts";
import { Service } from "../wire/service.ts";
import { AdminConnection, askLeader } from "./admin.ts";

const platform = realPlatform({ logLevel: "error", logTo: () => {} });
const clusterId = "c".repeat(32);

interface Options {
  readonly term?: number;
  readonly knows?: Address[];
  /** Why it can't answer; none: it leads. Undefined: it has no metadata. */
  readonly failure?: BrineError | "none";
}

async function server(context: TestContext, serverId: string, { term = 0, knows = [], ...options }: Options) {
  let { failure } = options;
  const asked: string[] = [];
  const service = new Service();
  if (failure !== undefined)
    service.handle(deleteVolume, ({ name }) => {
      asked.push(name);
      if (failure instanceof BrineError) throw failure;
      return {};
    });
  const identity = () => ({ clusterId, serverId, term, keepers: { term, addresses: knows } });
  const listener = await listenPeers(platform, "127.0.0.1:0", { identity, service });
  context.after(() => listener.close());
  const becomes = (reason: BrineError) => {
    failure = reason;
  };
  return { address: listener.address, asked, becomes };
}

const notLeader = new BrineError("notLeader", "another one leads");

test("a store's server, or one that leads no more, names the leader; it is asked once", async (context) => {
  const leader = await server(context, "leader", { term: 4, failure: "none" });
  const former = await server(context, "former", { failure: notLeader, knows: [leader.address] });
  const store = await server(context, "store", { knows: [former.address, leader.address] });
  for (const address of [former.address, store.address, leader.address]) {
    await askLeader(platform, [address], deleteVolume, { name: address });
    assert.deepEqual(leader.asked.splice(0), [address]);
  }
  await askLeader(platform, ["127.0.0.1:1", store.address], deleteVolume, { name: "other" });
  assert.deepEqual(leader.asked, ["other"]);
});

test("an outdated leader that can't answer is passed over; what the leader itself refuses is told", async (context) => {
  const refusal = new BrineError("notFound", "no such volume");
  const leader = await server(context, "leader", { term: 4, failure: refusal });
  const late = await server(context, "late", {
    ...{ term: 3, knows: [leader.address] },
    failure: new BrineError("notServing", "cut off"),
  });
  await assert.rejects(askLeader(platform, [late.address], deleteVolume, { name: "x" }), /no such volume/);
  await assert.rejects(
    askLeader(platform, [leader.address], checkChunks, { group: 1, after: 0, repair: false }),
    (error) => hasCode(error, "refused"),
  );
});

test("nobody leads: the reason of who might is told", async (context) => {
  const starting = new BrineError("notServing", "is starting");
  const last = await server(context, "last", { term: 2, failure: starting });
  const store = await server(context, "store", { knows: [last.address] });
  await assert.rejects(askLeader(platform, [store.address], deleteVolume, { name: "x" }), /is starting/);
  await assert.rejects(askLeader(platform, ["127.0.0.1:1"], deleteVolume, { name: "x" }), (error) =>
    hasCode(error, "unreachable"),
  );
});

test("who asks again goes on where the leader has gone meanwhile", async (context) => {
  const next = await server(context, "next", { term: 5, failure: "none" });
  const first = await server(context, "first", { term: 4, failure: "none", knows: ["127.0.0.1:1", next.address] });
  const connection = new AdminConnection(platform, [first.address]);
  context.after(() => connection.close());
  await connection.ask(deleteVolume, { name: "a" });
  assert.deepEqual(first.asked.splice(0), ["a"]);
  first.becomes(notLeader);
  await connection.ask(deleteVolume, { name: "b" });
  await connection.ask(deleteVolume, { name: "c" });
  assert.deepEqual(next.asked, ["b", "c"]);
  assert.ok(!first.asked.includes("c"));
});
