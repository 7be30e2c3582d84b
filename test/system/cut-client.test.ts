/**
 * A client whose network is cut, in a namespace of its own: for a moment, and it goes on where it was; for longer than its
 * session, and its log tells what was lost.
 */
import { strict as assert } from "node:assert";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Agent } from "./agent.ts";
import { Cluster, full, type Mount, waitFor } from "./cluster.ts";
import { type Place, TestNetwork, whyNoNetwork } from "./test-network.ts";

const skip = whyNoNetwork() ?? false;
const cleanErrors = ["EIO", "ESTALE"];

interface Scene {
  readonly cut: Mount;
  readonly other: Mount;
  readonly agent: Agent;
  readonly network: TestNetwork;
  readonly place: Place;
  /** Of `file`, which is open there and says "before". */
  readonly descriptor: number;
}

async function setUp(context: TestContext): Promise<Scene> {
  const network = await TestNetwork.start(context);
  const places: Place[] = [];
  for (let count = 0; count < 4; count++) places.push(await network.place(context));
  const cluster = await Cluster.start(context, { places: places.slice(0, 2) });
  const [cut, other] = [await cluster.mount("cut", [], places[2]), await cluster.mount("other", [], places[3])];
  const agent = new Agent(context, "cut");
  const descriptor = await agent.do("open", `${cut.point}/file`);
  await agent.do("pwrite", descriptor, "before", 0);
  await agent.do("fsync", descriptor);
  return { cut, other, agent, network, place: places[2]!, descriptor };
}

test("a client that is cut off for a moment goes on where it was", { skip }, async (context) => {
  const { cut, other, agent, network, place, descriptor } = await setUp(context);
  await network.cut(place);
  await agent.do("pwrite", descriptor, "during", 6);
  const synced = agent.try("fsync", descriptor);
  await sleep(4_000);
  await network.mend(place);
  assert.equal((await synced).error, undefined);
  await agent.do("pwrite", descriptor, "after", 12);
  await agent.do("close", descriptor);
  const reader = new Agent(context, "other");
  const there = await reader.do("open", `${other.point}/file`);
  assert.equal(await reader.do("pread", there, 100, 0), "beforeduringafter");
  assert.doesNotMatch(cut.program.log(), /session lost|changes were lost/);
});

const skipLong = full ? skip : "only with npm run test:system";

test("a client that is cut off for longer than its session tells what it lost", { skip: skipLong }, async (context) => {
  const { cut, other, agent, network, place, descriptor } = await setUp(context);
  await network.cut(place);
  await agent.do("pwrite", descriptor, "LOST!!", 0);
  const reader = new Agent(context, "other");
  const there = await reader.do("open", `${other.point}/file`);
  assert.equal(await reader.do("pread", there, 100, 0), "before", "once the session has been fenced");
  await network.mend(place);
  await waitFor("the log to name the file", () => /changes were lost .*write \/file/.test(cut.program.log()), 30_000);
  const answer = await agent.try("pwrite", descriptor, "late", 0);
  assert.ok(cleanErrors.includes(answer.error ?? ""), `an old handle: ${answer.error}`);
  await agent.try("close", descriptor);
  const again = await agent.do("open", `${cut.point}/file`);
  assert.equal(await agent.do("pread", again, 100, 0), "before");
});
