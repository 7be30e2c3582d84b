/** Pauses between rounds of the search for the leader: short where nobody leads, longer where a leader refuses. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { type Round, SearchPauses } from "./search-pauses.ts";

const nobody: Round = { kind: "nobody" };
const refused: Round = { kind: "refused" };

/** The last of so many pauses in a row. */
function last(pauses: SearchPauses, round: Round, count: number): number {
  let pauseMs = 0;
  for (let left = count; left > 0; left--) pauseMs = pauses.after(round);
  return pauseMs;
}

function withoutJitter(): SearchPauses {
  return new SearchPauses({ bytes: (length) => Buffer.alloc(length), below: () => 0 });
}

test("the first round follows at once, the next ones after pauses that grow up to a quarter of a second", () => {
  const pauses = withoutJitter();
  assert.deepEqual(
    [1, 2, 3, 4, 5, 6, 7].map(() => pauses.after(nobody)),
    [0, 20, 40, 80, 160, 250, 250],
  );
});

test("leaders that live for half a second each are not searched for more slowly with each of them", () => {
  const pauses = withoutJitter();
  for (let leader = 0; leader < 20; leader++) {
    assert.ok(last(pauses, nobody, 10) <= 250);
    assert.ok(pauses.after({ kind: "tied", forMs: 500 }) <= 250, "a leader that is back at once is found soon");
  }
});

test("a leader that refuses the store, or drops it at once, is asked once a second", () => {
  assert.equal(last(withoutJitter(), refused, 10), 1_000);
  assert.equal(last(withoutJitter(), { kind: "tied", forMs: 5 }, 10), 1_000);
});

test("a leader that is lost after a refusal is searched for as often as any", () => {
  const pauses = withoutJitter();
  last(pauses, refused, 10);
  assert.equal(pauses.after(nobody), 250);
});

test("after a tie that held the next round follows at once", () => {
  const pauses = withoutJitter();
  last(pauses, refused, 10);
  assert.equal(pauses.after({ kind: "tied", forMs: 1_000 }), 0);
});
