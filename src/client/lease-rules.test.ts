/** Which lease is enough for whom: the whole table. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import { isSplitUnder, satisfies, serves, servesNow, type Waiter } from "./lease-rules.ts";
import { Node } from "./node.ts";
import { recordOf } from "./testing/lease-setup.ts";

const modes = [undefined, "shared", "exclusive", "split"] as const;

function nodeUnder(mode: LeaseMode | undefined): Node {
  const node = new Node(9, recordOf(9));
  node.mode = mode;
  node.grant = 5;
  return node;
}

function waiter(mode: LeaseMode, forData: Waiter["forData"], takesSplit: boolean): Waiter {
  return { mode, forData, takesSplit, resolve: () => {}, reject: () => {} };
}

/** The modes under which `holds`. */
function where(holds: (mode: LeaseMode | undefined) => boolean): string {
  return modes.filter(holds).join(" ");
}

test("the exclusive lease is enough for shared use, the split one only for those who take it", () => {
  assert.equal(
    where((held) => satisfies(held, "shared")),
    "shared exclusive",
  );
  assert.equal(
    where((held) => satisfies(held, "exclusive")),
    "exclusive",
  );
  assert.equal(
    where((held) => satisfies(held, "split")),
    "split",
  );
  assert.equal(
    where((held) => serves(nodeUnder(held), waiter("shared", "read", true))),
    "shared exclusive split",
  );
  assert.equal(
    where((held) => serves(nodeUnder(held), waiter("exclusive", "write", true))),
    "exclusive split",
  );
  assert.equal(
    where((held) => serves(nodeUnder(held), waiter("exclusive", undefined, false))),
    "exclusive",
  );
});

test("while the kernel gives up its pages only data is served, and only under what the lease allows", () => {
  assert.equal(
    where((held) => servesNow(nodeUnder(held), waiter("shared", "read", true))),
    "shared exclusive",
  );
  assert.equal(
    where((held) => servesNow(nodeUnder(held), waiter("exclusive", "write", true))),
    "exclusive",
  );
  assert.equal(
    where((held) => servesNow(nodeUnder(held), waiter("shared", undefined, false))),
    "",
  );
});

test("a chunk's lease stands under the split lease that it names, also one that is leaving if somebody uses it", () => {
  assert.equal(
    where((held) => isSplitUnder(nodeUnder(held), 5)),
    "split",
  );
  assert.ok(!isSplitUnder(nodeUnder("split"), 4));
  const leaving = nodeUnder("split");
  leaving.leaving = "entirely";
  assert.ok(!isSplitUnder(leaving, 5));
  leaving.uses = 1;
  assert.ok(isSplitUnder(leaving, 5));
});
