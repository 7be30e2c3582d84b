/** What a store says of the requests that are under way in it. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { equalize, readBlocks, writeBlocks } from "../wire/catalogue/store.ts";
import type { Method } from "../wire/method.ts";
import type { Peer } from "../wire/peer.ts";
import { Service } from "../wire/service.ts";
import type { Store } from "./store.ts";
import { storeWaits } from "./store-waits.ts";

const client = { remote: { address: "c:1", peerId: "c", role: "client", description: "brine mount home" } } as Peer;
const leader = { remote: { address: "l:1", peerId: "l", role: "server", description: "server" } } as Peer;

function underWay<Q, R>(method: Method<Q, R>, body: unknown, peer: Peer) {
  const registration = { method: method as Method<unknown, unknown>, handler: () => ({}), roles: undefined };
  return { registration, body, peer, arrivedMs: 900 };
}

test("requests under way say for whom they are and what they wait for", () => {
  const service = new Service();
  service.underWay.add(underWay(writeBlocks, {}, client));
  service.underWay.add(underWay(readBlocks, {}, client));
  service.underWay.add(underWay(equalize, { group: 4, source: "s2:1" }, leader));
  const waits = (state: { isFull: boolean; isReadyToWrite: boolean }) =>
    storeWaits([service], state as unknown as Store, 1000).map(
      ({ operation, waitsFor }) => `${operation}: ${waitsFor}`,
    );
  assert.deepEqual(waits({ isFull: false, isReadyToWrite: true }), [
    "store.write for brine mount home: its disk, to be written",
    "store.read for brine mount home: its disk, to be read",
    "store.equalize for the leader at l:1: blocks of group 4 from s2:1",
  ]);
  assert.match(waits({ isFull: true, isReadyToWrite: false })[0]!, /room on its disk, which is full$/);
  assert.match(waits({ isFull: false, isReadyToWrite: false })[0]!, /the log's queue is full$/);
  assert.equal(storeWaits([service], { isFull: false, isReadyToWrite: true } as unknown as Store, 1000)[0]!.forMs, 100);
});
