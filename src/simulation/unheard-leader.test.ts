/**
 * The ledger's copy and its witness are away for longer than a session lasts. Meanwhile the leader may answer nobody, so nobody's silence
 * says anything: clients that go on asking keep their sessions, and what they have not yet written.
 */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { setWitness } from "../wire/catalogue/ledger.ts";
import { Attempts } from "./attempts.ts";
import { SimulatedCluster } from "./cluster.ts";
import { owner } from "./model-operations.ts";
import { World } from "./simulated-platform.ts";
import type { ServerPlan, SimulatedServer } from "./simulated-server.ts";

/** Beyond the leave to serve, and a session with its margin. */
const awayMs = 20_000;
const againMs = 100;
const limitMs = 120_000;

const layout: readonly ServerPlan[] = [
  { name: "meta", roles: ["metadata"] },
  { name: "copy", roles: ["metadata"], copies: "preferred" },
  { name: "alpha", roles: ["store"] },
  { name: "beta", roles: ["store"] },
];

test("a leader that neither its copy nor its witness gives leave to serve ends no session meanwhile", async () => {
  const world = new World(1, "error");
  const { scheduler } = world;
  const cluster = new SimulatedCluster(
    world,
    layout,
    ["one"],
    {},
    {
      onClientDeath: () => {},
      onSessionAtRisk: () => {},
      onDefect: (error) => assert.fail(error),
    },
  );
  const wait = (ms: number) => new Promise<void>((resolve) => scheduler.schedule(ms * 1_000, "wait", resolve));

  const story = async () => {
    await cluster.start();
    await cluster.whole();
    const [, copy, alpha, beta] = cluster.servers as [
      SimulatedServer,
      SimulatedServer,
      SimulatedServer,
      SimulatedServer,
    ];
    const attempts = new Attempts(cluster, "OPERATOR");
    while (!(await attempts.make(() => cluster.request(setWitness, { address: alpha.address })))) await wait(againMs);
    const { client } = await cluster.clients[0]!.mount();
    const { id } = client.session;
    const { inode } = await client.create(client.root, "f", { type: "file", mode: 0o644, ...owner });
    const away = [copy, alpha];
    for (const server of away) server.kill({ power: true });
    await wait(awayMs);
    assert.equal(cluster.leader.metadata?.serving, false);
    for (const server of away) server.start();
    await client.setAttributes(inode, { mode: 0o600 });
    const handle = await client.open(inode, {});
    await client.sync(handle);
    client.close(handle);
    assert.equal(client.session.id, id);
    await cluster.whole();
    const { sessions, servers } = await cluster.status();
    assert.deepEqual(
      sessions.map(({ session }) => session),
      [id],
    );
    assert.equal(servers.find(({ address }) => address === beta.address)!.state, "online");
  };

  let outcome: { error?: Error } | undefined;
  story().then(
    () => {
      outcome = {};
    },
    (error: Error) => {
      outcome = { error };
    },
  );
  const end = await scheduler.run(() => outcome !== undefined, { untilUs: limitMs * 1_000 });
  if (outcome?.error !== undefined) throw outcome.error;
  assert.equal(end, "finished");
});
