import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { GroupRecord } from "../namespace/model.ts";
import { lackingRoom } from "./lacking-room.ts";
import type { PlannedStore, StoreRole } from "./plan-moves.ts";

const of = { volume: 1, pool: 0, replicas: 2, labels: [], failureDomain: "host", generation: 1, nextNumber: 0 };

function groupOn(group: number, ...stores: readonly number[]): GroupRecord {
  return { ...of, group, members: stores.map((store) => ({ store, state: "inSync" })) };
}

function stores(roles: readonly StoreRole[], online = true): PlannedStore[] {
  return roles.map((role, at) => ({ store: at + 1, role, online, host: `host ${at}`, labels: [] }));
}

test("copies lack room where all that could have them are full", () => {
  const groups = [groupOn(1, 1, 3), groupOn(2, 2, 3), groupOn(3, 1, 2)];
  assert.deepEqual(lackingRoom(groups, stores(["keeps", "keeps", "leaves"])), { copies: 2, stores: [1, 2] });
  assert.deepEqual(lackingRoom(groups, stores(["keeps", "takes", "leaves"])), { copies: 1, stores: [1] });
  assert.deepEqual(lackingRoom(groups, stores(["keeps", "keeps", "keeps"])), { copies: 0, stores: [] });
  assert.deepEqual(lackingRoom(groups, stores(["keeps", "keeps", "leaves", "spare"])), { copies: 0, stores: [] });
});

test("room is not what is lacking where no store is left, is online, or has the labels", () => {
  assert.equal(lackingRoom([groupOn(1, 1)], stores(["takes", "removed"])).copies, 0);
  assert.equal(lackingRoom([groupOn(1, 1)], stores(["keeps", "keeps"], false)).copies, 0);
  const labelled = { ...groupOn(1, 1), labels: [{ key: "disk", value: "ssd" }] };
  assert.equal(lackingRoom([labelled], stores(["keeps", "keeps"])).copies, 0);
});
