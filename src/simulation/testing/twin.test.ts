/**
 * The checker of histories and the model of the kernel, on a file system that is right, and on one with each kind of bug.
 * What is right must never be called wrong: else nobody could tell what a violation means.
 */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { Kind, Weights } from "../workload-kinds.ts";
import { runTwin } from "./twin-run.ts";
import { type TwinBug, twinBugs } from "./twin-server.ts";

const operations = 150;
/** A bug that strikes rarely may need some histories until one shows it. */
const seedsMax = 150;

/** What applications do more of, where a bug shows in little else. */
const moreOf: Partial<Record<TwinBug, readonly Kind[]>> = {
  "fsync answered early": ["sync", "createFile", "write"],
  "pages kept after a recall": ["store", "load", "read", "write"],
  "append at the kernel's offset": ["append", "open"],
};

/** What they do and nothing else. */
const onlyOf: Partial<Record<TwinBug, Weights>> = {
  "overwrite before the move of a directory above it": {
    ...{ createFile: 3, makeDirectory: 3, open: 4, append: 5, write: 3 },
    ...{ overwrite: 20, rename: 3, chmod: 6, sync: 3 },
  },
};

test("a right file system, whose clients die often, is never called wrong", async () => {
  for (let seed = 1; seed <= 60; seed++) {
    const { failure, history } = await runTwin({ seed, operations, deaths: true });
    assert.equal(failure, undefined, `seed ${seed}\n${failure?.stack}\n${history.slice(-20).join("\n")}`);
  }
});

test("the same seed gives the same digest", async () => {
  const run = (seed: number) => runTwin({ seed, operations, deaths: true });
  assert.equal((await run(3)).digest, (await run(3)).digest);
  assert.notEqual((await run(4)).digest, (await run(3)).digest);
});

for (const bug of twinBugs) {
  test(`planted: ${bug}`, async () => {
    for (let seed = 1; seed <= seedsMax; seed++) {
      const { failure, struck } = await runTwin({
        seed,
        operations,
        deaths: true,
        bug,
        more: moreOf[bug],
        only: onlyOf[bug],
      });
      if (failure === undefined) continue;
      assert.ok(struck > 0, `${failure.stack}`);
      assert.match(failure.message, /not linearizable/);
      return;
    }
    assert.fail(`not found with ${seedsMax} seeds`);
  });
}
