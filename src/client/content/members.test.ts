/** Which member is read first. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { realLogger } from "../../platform/real-logger.ts";
import type { GroupView } from "../../wire/catalogue/leader.ts";
import { testPlatform } from "../../wire/testing/memory-network.ts";
import type { Session } from "../session.ts";
import type { Groups } from "./groups.ts";
import { Members } from "./members.ts";
import { Stores } from "./stores.ts";

function make() {
  const platform = testPlatform();
  const identity = { role: "client", clusterId: "", peerId: "", description: "" } as const;
  const stores = new Stores(platform, identity);
  const session = { id: 1, request: async () => ({ removed: false }) } as unknown as Session;
  const members = new Members(
    platform.clock,
    realLogger("error", () => {}),
    session,
    stores,
    {} as Groups,
  );
  const member = (store: number, state: "inSync" | "catchingUp" | "behind") => ({
    store,
    state,
    address: `s:${store}`,
  });
  const view: GroupView = {
    group: 1,
    generation: 1,
    members: [member(1, "inSync"), member(2, "inSync"), member(3, "catchingUp"), member(4, "behind")],
  };
  const firsts = (count: number) => Array.from({ length: count }, () => members.readable(view)[0]!.store);
  return { platform, stores, members, view, firsts };
}

const share = (picks: readonly number[], store: number) => picks.filter((pick) => pick === store).length / picks.length;

test("equals take turns; only in-sync members are read, all but those behind are written", () => {
  const { members, view, firsts } = make();
  const picks = firsts(1000);
  assert.ok(Math.abs(share(picks, 1) - 0.5) < 0.1, `${share(picks, 1)}`);
  assert.deepEqual(
    members
      .readable(view)
      .map((link) => link.store)
      .sort(),
    [1, 2],
  );
  assert.deepEqual(
    members.writable(view).map((link) => link.store),
    [1, 2, 3],
  );
});

test("the one with less to do is first, then the clearly quicker one; a slow one is still tried now and then", () => {
  const { stores, firsts } = make();
  const [one, two] = [stores.link(1, "s:1"), stores.link(2, "s:2")];
  one.latencyMs = 8;
  two.latencyMs = 1;
  const picks = firsts(160);
  assert.ok(share(picks, 2) > 0.9 && share(picks, 1) > 0.03);
  two.outstanding = 3;
  assert.ok(share(firsts(160), 1) > 0.9);
});

test("a slow one is tried now and then, whatever the others have to do, until it is quick again", async () => {
  const { platform, stores, firsts } = make();
  const [one, two] = [stores.link(1, "s:1"), stores.link(2, "s:2")];
  one.latencyMs = 200;
  two.latencyMs = 1;
  two.outstanding = 30;
  let tries = 0;
  for (let ms = 0; ms < 10_000; ms += 100) {
    tries += firsts(10).filter((store) => store === 1).length;
    await platform.clock.advance(100);
  }
  assert.ok(tries === 3, `${tries}`);
  one.latencyMs = 2;
  two.outstanding = 0;
  assert.ok(share(firsts(160), 1) > 0.03);
});

test("one that an operator calls slow is read only where no other can be, until it is taken back", () => {
  const { stores, members, view, firsts } = make();
  const two = stores.link(2, "s:2");
  members.calledSlow = new Set([1]);
  two.latencyMs = 300;
  two.outstanding = 30;
  assert.equal(share(firsts(160), 1), 0, "however slow and busy the other one is");
  const alone = { ...view, members: view.members.filter(({ store }) => store !== 2) };
  assert.equal(members.readable(alone)[0]!.store, 1);
  members.calledSlow = new Set();
  assert.ok(share(firsts(160), 1) > 0.5);
});

test("one that has just failed is asked last", async () => {
  const { platform, members, stores, firsts } = make();
  await members.report(stores.link(1, "s:1"), new Error("gone"));
  assert.equal(share(firsts(100), 1), 0);
  await platform.clock.advance(2_000);
  assert.ok(share(firsts(100), 1) > 0.4);
});
