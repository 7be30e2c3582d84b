import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { ManualClock } from "../metadata/testing/manual-clock.ts";
import type { InodeRecord } from "../namespace/model.ts";
import { Node } from "./node.ts";
import { UnusedLeases } from "./unused-leases.ts";

function make(limits: { leasesMax: number; evictedAtOnce: number; lookedAtMax?: number }) {
  const clock = new ManualClock();
  const nodes = new Map<number, Node>();
  const left: number[] = [];
  const leave = (node: Node) => {
    left.push(node.inode);
    nodes.delete(node.inode);
  };
  const unused = new UnusedLeases(clock, nodes, leave, {
    lookedAtMax: 1_000,
    idleMs: 300_000,
    idleSweepMs: 10_000,
    ...limits,
  });
  let next = 0;
  const add = (): Node => {
    next += 1;
    const node = new Node(next, {} as InodeRecord);
    node.mode = "shared";
    node.isRecent = true;
    nodes.set(node.inode, node);
    unused.added();
    return node;
  };
  return { clock, nodes, left, unused, add };
}

test("what was used since the last look stays, the others go in the order in which they came", () => {
  const { nodes, left, add } = make({ leasesMax: 4, evictedAtOnce: 2 });
  const all = Array.from({ length: 6 }, () => add());
  assert.deepEqual(left, [], "all were used since they came");
  all[1]!.isRecent = true;
  all[2]!.uses = 1;
  all[3]!.leaving = "toShared";
  add();
  add();
  assert.deepEqual(left, [1, 5]);
  assert.deepEqual(new Set(nodes.keys()), new Set([2, 3, 4, 6, 7, 8]));
});

test("an operation that adds a node keeps the unpinned ones that it has just marked as used", () => {
  const { left, add } = make({ leasesMax: 1, evictedAtOnce: 1 });
  const parent = add();
  for (let count = 0; count < 20; count++) {
    parent.isRecent = true;
    add();
  }
  assert.ok(!left.includes(parent.inode));
  assert.ok(left.length > 10);
});

test("a look goes on where the last one has ended", () => {
  const { left, add } = make({ leasesMax: 4, evictedAtOnce: 1, lookedAtMax: 2 });
  for (let count = 0; count < 5; count++) add(); // looks at 1 and 2
  add(); // at 3 and 4
  assert.deepEqual(left, []);
  add(); // at 5 and 1, which nobody has used
  assert.deepEqual(left, [1]);
});

test("leases that lie idle go after their time, those in use don't", async () => {
  const { clock, left, add, unused } = make({ leasesMax: 100, evictedAtOnce: 1 });
  const [used] = [add(), add()];
  used.uses = 1;
  await clock.advance(10_000);
  await clock.advance(299_000);
  assert.deepEqual(left, []);
  await clock.advance(20_000);
  assert.deepEqual(left, [2]);
  unused.stop();
  used.uses = 0;
  await clock.advance(1_000_000);
  assert.deepEqual(left, [2], "it was stopped");
});

test("many that lie idle go in lots, and who is used meanwhile stays", async () => {
  const { clock, left, add, unused } = make({ leasesMax: 100, evictedAtOnce: 4 });
  const all = Array.from({ length: 10 }, () => add());
  await clock.advance(10_000);
  for (let passedMs = 10_000; left.length === 0; passedMs += 250) {
    assert.ok(passedMs < 330_000);
    await clock.advance(250);
  }
  assert.deepEqual(left, [1, 2, 3, 4]);
  all[5]!.isRecent = true;
  await clock.advance(250);
  assert.deepEqual(left, [1, 2, 3, 4, 5, 7, 8]);
  await clock.advance(250);
  assert.deepEqual(left, [1, 2, 3, 4, 5, 7, 8, 9, 10]);
  unused.stop();
});

test("never more are kept than the limit, or than a look had to spare, and those that came since", () => {
  const step = fc.record({ kind: fc.constantFrom("add", "use", "pin", "unpin"), at: fc.nat(50) });
  const limits = fc.record({
    leasesMax: fc.integer({ min: 1, max: 8 }),
    evictedAtOnce: fc.integer({ min: 1, max: 4 }),
  });
  fc.assert(
    fc.property(limits, fc.array(step, { maxLength: 200 }), (bounds, steps) => {
      const { nodes, left, unused, add } = make(bounds);
      for (const { kind, at } of steps) {
        const node = [...nodes.values()][at % Math.max(1, nodes.size)];
        if (kind === "add" || node === undefined) add();
        else if (kind === "use") node.isRecent = true;
        else node.uses = kind === "pin" ? 1 : 0;
        assert.ok(unused.kept <= Math.max(bounds.leasesMax, unused.sparedMost) + bounds.evictedAtOnce);
        for (const one of nodes.values()) if (one.uses > 0) assert.ok(!left.includes(one.inode));
      }
    }),
    { seed: 1 },
  );
});
