import { strict as assert } from "node:assert";
import { test } from "node:test";
import { Rounds } from "./rounds.ts";

test("one round at a time; however often it is asked for meanwhile, one more; none after the end", async () => {
  const started: PromiseWithResolvers<void>[] = [];
  const rounds = new Rounds(() => {
    const round = Promise.withResolvers<void>();
    started.push(round);
    return round.promise;
  });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  for (let count = 0; count < 3; count++) rounds.ask();
  assert.equal(started.length, 1);
  for (let count = 0; count < 3; count++) rounds.ask();
  started[0]!.resolve();
  await turn();
  assert.equal(started.length, 2);
  rounds.ask();
  let hasStopped = false;
  const stopping = rounds.stop().then(() => {
    hasStopped = true;
  });
  await turn();
  assert.equal(hasStopped, false);
  started[1]!.resolve();
  await stopping;
  rounds.ask();
  await turn();
  assert.equal(started.length, 2);
});
