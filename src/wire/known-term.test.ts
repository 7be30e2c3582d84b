/** Whom stores and clients refuse as leader: who has an old copy of the metadata, whatever its term. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { decode, encode } from "../codec/schema.ts";
import { realPlatform } from "../platform/real.ts";
import { knownLedger } from "./catalogue/handshake.ts";
import { KnownTerm, type Leading } from "./known-term.ts";

const platform = realPlatform({ logLevel: "error", logTo: () => {} });

function leading(term: number, beganIndex: number, { history = 0, startedMs = 1000 * term } = {}): Leading {
  return { term, origin: { history, beganIndex, startedMs } };
}

/** Knows a leader of term 5 that began with entry 100 and has gone on up to 200. */
function known(): KnownTerm {
  const known = new KnownTerm(platform.logger);
  known.met(leading(5, 100));
  known.heard(5, 200);
  known.heard(5, 150);
  // Of one that didn't lead yet when it said hello.
  known.heard(0, 300);
  return known;
}

const accepts = (leader: Leading, of = known()): boolean => {
  try {
    of.check(leader, "a:1");
    return true;
  } catch {
    return false;
  }
};

test("a leader goes on, and another one with all that is known", () => {
  assert.ok(accepts(leading(5, 100)));
  assert.ok(accepts(leading(6, 200)));
  assert.ok(accepts({ term: 6 }));
});

test("a lower term is outdated", () => {
  assert.ok(!accepts(leading(4, 300)));
  assert.ok(!accepts({ term: 0 }));
});

test("so is a higher one without entries that are known: it was set back", () => {
  assert.throws(
    () => known().check(leading(6, 199), "a:1"),
    /old copy: it ends with entry 199, and entry 200 is known/,
  );
  assert.ok(!accepts(leading(1000, 199)));
});

test("of two under one term the other one is", () => {
  assert.throws(() => known().check(leading(5, 100, { startedMs: 7 }), "a:1"), /led under the same term/);
});

test("a person's decision to go on with less begins a history of its own", () => {
  const of = known();
  const restored = leading(1005, 50, { history: 77 });
  assert.ok(accepts(restored, of));
  of.met(restored);
  assert.deepEqual(of.ledger, { term: 1005, startedMs: 1_005_000, history: 77, index: 50 });
  assert.ok(!accepts(leading(6, 300), of), "the lost one, that comes back");
  assert.ok(!accepts(leading(1006, 49, { history: 77 }), of));
});

test("what is known stays known over a restart, and over a leader that is met and says less", () => {
  const before = known().ledger;
  const again = new KnownTerm(platform.logger, decode(knownLedger, encode(knownLedger, before)));
  again.met({ term: 5 });
  assert.deepEqual(again.ledger, before);
  // When that one began is not known: it may say so later.
  again.met({ term: 6 });
  assert.deepEqual(again.ledger, { ...before, term: 6, startedMs: 0 });
  assert.ok(accepts(leading(6, 200), again));
  assert.ok(!accepts(leading(7, 199), again));
});
