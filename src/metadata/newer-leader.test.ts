/** A leader that has an old copy of the metadata learns it from the stores, which don't register with it. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { BrineError } from "../errors/brine-error.ts";
import { realPlatform } from "../platform/real.ts";
import type { KnownLedger } from "../wire/catalogue/handshake.ts";
import { readKnownLedger } from "../wire/catalogue/registration.ts";
import { listenPeers } from "../wire/listen.ts";
import { Service } from "../wire/service.ts";
import type { Leader } from "./leader.ts";
import { Lifetime } from "./lifetime.ts";
import { NewerLeader } from "./newer-leader.ts";
import type { Stores } from "./stores.ts";
import { defaultTimeouts } from "./timeouts.ts";

const platform = realPlatform({ logLevel: "error", logTo: () => {} });
const own = { term: 6, origin: { history: 0, beganIndex: 100, startedMs: 6_000 } };

/** What a leader with `own` finds out when its store, or another one in its place, knows this; undefined: nothing, after it was asked twice. */
async function verdict(known: KnownLedger, answering = "s"): Promise<BrineError | undefined> {
  let asked = 0;
  const enough = Promise.withResolvers<undefined>();
  const service = new Service().handle(
    readKnownLedger,
    () => {
      asked += 1;
      if (asked === 2) enough.resolve(undefined);
      return known;
    },
    { roles: ["leader"] },
  );
  const identity = () => ({ clusterId: "c", serverId: answering });
  const listener = await listenPeers(platform, "127.0.0.1:0", { identity, service });
  const lifetime = new Lifetime(platform.clock, platform.logger);
  const state = { store: 1, serverId: "s", address: listener.address, peer: undefined, isRefused: false };
  const told = Promise.withResolvers<BrineError>();
  new NewerLeader({
    leader: { platform, lifetime, timeouts: defaultTimeouts } as unknown as Leader,
    stores: { all: () => [state] } as unknown as Stores,
    ...{ clusterId: "c", serverId: "leader", own, lastIndex: () => 150, onOutdated: told.resolve },
  }).start();
  try {
    return await Promise.race([told.promise, enough.promise]);
  } finally {
    lifetime.stop();
    await listener.close();
  }
}

test("a store that knows more entries, a higher term or another leader of this one refuses it", async () => {
  const old = await verdict({ term: 5, startedMs: 5_000, history: 0, index: 101 });
  assert.equal(old?.code, "notServing");
  assert.match(old.message, /refused by store 1 at .*entry 100, and entry 101 is known/);
  assert.match(old.advice ?? "", /backup-metadata still works here/);
  assert.match((await verdict({ term: 7, startedMs: 7_000, history: 0, index: 0 }))!.message, /term 7 is known/);
  assert.match((await verdict({ term: 6, startedMs: 5_999, history: 0, index: 0 }))!.message, /same term/);
});

test("one that knows less, this leader itself, or what a person has given up, doesn't", async () => {
  assert.equal(await verdict({ term: 5, startedMs: 5_000, history: 0, index: 100 }), undefined);
  assert.equal(await verdict({ term: 6, startedMs: 6_000, history: 0, index: 500 }), undefined);
  assert.equal(await verdict({ term: 5, startedMs: 5_000, history: 9, index: 500 }), undefined);
});

test("a new store in the place of a known one may follow an old copy: it is believed if it knows entries that are not here", async () => {
  const copy = { term: 7, startedMs: 7_000, history: 0, index: 150 };
  assert.equal(await verdict(copy, "new"), undefined);
  assert.equal(await verdict({ ...copy, term: 6 }, "new"), undefined);
  assert.match((await verdict({ ...copy, index: 151 }, "new"))!.message, /term 7 is known/);
  assert.match((await verdict({ ...copy, history: 9 }, "new"))!.message, /term 7 is known/);
});
