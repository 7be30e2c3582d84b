/** All steps of an end are done, and the first failure is what comes of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { everyStep } from "./every-step.ts";

test("what fails keeps nothing else from being done", async () => {
  const done: string[] = [];
  const steps = ["one", "two", "three"].map((name) => async () => {
    done.push(name);
    if (name !== "three") throw new Error(name);
  });
  await assert.rejects(everyStep(steps), /one/);
  assert.deepEqual(done, ["one", "two", "three"]);
  await everyStep([() => done.push("four")]);
  assert.equal(done.length, 4);
});
