/** Who waits for whom, an inode's report, and metrics: what the leader answers an administrator. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { type Client, Harness } from "../testing/harness.ts";
import { drain } from "../testing/manual-clock.ts";

async function cluster() {
  const harness = await Harness.start();
  const stores = [await harness.addStore("s1"), await harness.addStore("s2")];
  await harness.addVolume("home", 2);
  const first = await harness.mount("first", "home");
  const second = await harness.mount("second", "home");
  for (const { peer } of stores) peer.answer = answering({ waits: [] });
  first.peer.answer = answering({ waits: [] });
  second.peer.answer = answering({ waits: [] });
  return { harness, stores, first, second, alive: { stores, sessions: [first, second] } };
}

/** A process that answers `watch.readWaits` and gives nothing back that it is asked for. */
function answering(waits: { waits: unknown[] }) {
  return (name: string) => {
    if (name === "watch.readWaits") return waits;
    if (name === "watch.readMetrics") return { forMs: 1000, series: [] };
    return {};
  };
}

/** The client asks for the exclusive lease, and waits. */
async function wait(client: Client, inode: number): Promise<void> {
  client.acquire(inode, "exclusive").catch(() => {});
  await drain();
}

test("a wait for a lease names its holder, since when, and the path", async () => {
  const { harness, first, second, alive } = await cluster();
  const inode = await first.create("file");
  first.isStubborn = true;
  await wait(second, inode);
  await harness.pass(2_000, alive);
  const { waits, silent } = await harness.parts.clusterWaits.read();
  assert.deepEqual(silent, []);
  assert.equal(waits.length, 1);
  const [found] = waits;
  assert.equal(found!.role, "client");
  assert.match(found!.who, /^second/);
  assert.equal(found!.path, "/file");
  assert.equal(found!.volume, "home");
  assert.ok(found!.forMs >= 2_000);
  assert.match(
    found!.waitsFor,
    /^lease \(exclusive\) on inode \d+, held by first \(session \d+\), exclusive for 2\.\d s, asked back$/,
  );
});

test("what a client says of its wait takes the place of what the leader says", async () => {
  const { harness, first, second, alive } = await cluster();
  const inode = await first.create("file");
  first.isStubborn = true;
  await wait(second, inode);
  await harness.pass(1_000, alive);
  const waitsFor = `lease (exclusive) on inode ${inode}`;
  second.peer.answer = answering({ waits: [{ operation: "write", inode, waitsFor, forMs: 990 }] });
  const { waits } = await harness.parts.clusterWaits.read();
  assert.deepEqual(
    waits.map(({ operation, path, forMs }) => [operation, path, forMs]),
    [["write", "/file", 990]],
  );
  assert.match(waits[0]!.waitsFor, /held by first/);
});

test("stores say what waits in them; who does not answer is named", async () => {
  const { harness, stores, second, alive } = await cluster();
  stores[0]!.peer.answer = answering({
    waits: [{ operation: "store.write for a client", inode: 0, waitsFor: "its disk", forMs: 70 }],
  });
  second.peer.answer = () => new Promise(() => {});
  second.peer.close("gone");
  const reading = harness.parts.clusterWaits.read();
  await harness.pass(100, { stores: alive.stores, sessions: [] });
  const { waits, silent } = await reading;
  assert.deepEqual(
    waits.map(({ role, who, waitsFor }) => [role, who, waitsFor]),
    [["store", `store ${stores[0]!.store} (s1:1)`, "its disk"]],
  );
  assert.deepEqual(silent, ["second: not connected"]);
});

test("grace names the clients that have not come back", async () => {
  const { harness, first } = await cluster();
  const peer = first.peer;
  await harness.restart();
  first.state(peer);
  first.peer.answer = answering({ waits: [] });
  first.ask(first.root, "shared", 0).catch(() => {});
  await drain();
  const { waits } = await harness.parts.clusterWaits.read();
  const grace = waits.find(({ waitsFor }) => waitsFor.includes("have not come back"));
  assert.match(grace!.waitsFor, /since the leader's start: second \(session \d+\)$/);
  assert.match(grace!.who, /^first/);
});

test("an inode's report: leases, holds, chunks with their members, and waits on it or above it", async () => {
  const { harness, first, second, alive } = await cluster();
  const inode = await first.create("file");
  await first.write(inode);
  const other = await first.create("other");
  first.isStubborn = true;
  await wait(second, first.root);
  await wait(second, other);
  await harness.pass(500, alive);
  const report = await harness.parts.inodeReports.explain({ volume: "home", inode: 0, path: "/file" });
  assert.equal(report.inode, inode);
  assert.equal(report.path, "/file");
  assert.equal(report.size, 10);
  assert.deepEqual(
    report.leases.map(({ mode, recalledFor }) => [mode, recalledFor]),
    [["exclusive", undefined]],
  );
  assert.match(report.leases[0]!.who, /^first/);
  assert.equal(report.groups.length, 1);
  assert.equal(report.groups[0]!.chunks, 1);
  assert.deepEqual(
    report.groups[0]!.members.map(({ state, condition }) => [state, condition]),
    [
      ["inSync", "online"],
      ["inSync", "online"],
    ],
  );
  assert.deepEqual(
    report.waits.map(({ inode: about }) => about),
    [first.root],
    "the root is above the file; the other file is not",
  );
  const unknown = await harness.parts.inodeReports.explain({ volume: "home", inode: 0, path: "/none/at/all" });
  assert.deepEqual([unknown.inode, unknown.missing], [first.root, "none/at/all"], "what is known of the way to it");
  await assert.rejects(harness.parts.inodeReports.explain({ volume: "other", inode: 0, path: "/" }), {
    code: "notFound",
  });
  const held = await first.unlink("other");
  first.release(held, { hold: true });
  const open = await harness.parts.inodeReports.explain({ volume: "home", inode: held, path: "" });
  assert.equal(open.path, "");
  assert.equal(open.holds.length, 1);
});

test("metrics of all processes: a store in the leader's own process is not counted twice", async () => {
  const { harness, stores, first } = await cluster();
  const inTheLeader = await harness.addStore("meta");
  const series = [{ name: "c", labels: [], kind: "counter", value: "3", count: 0, buckets: [] }];
  stores[1]!.peer.answer = () => ({ forMs: 1000, series });
  const all = await harness.parts.clusterMetrics.read({ lastMinute: false, session: 0 });
  assert.deepEqual(
    all.processes.map(({ role }) => role),
    ["leader", "store", "store", "client", "client"],
  );
  assert.ok(all.processes[0]!.series.some(({ name }) => name === "brine_ledger_append_seconds"));
  assert.deepEqual(all.processes[2]!.series, series);
  assert.deepEqual(inTheLeader.peer.bodies("watch.readMetrics"), []);
  const one = await harness.parts.clusterMetrics.read({ lastMinute: true, session: first.session.id });
  assert.deepEqual(
    one.processes.map(({ role, session }) => [role, session]),
    [["client", first.session.id]],
  );
});
