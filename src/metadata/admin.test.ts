import { strict as assert } from "node:assert";
import { test } from "node:test";
import { hasCode } from "../errors/brine-error.ts";
import { Harness } from "./testing/harness.ts";

test("a volume's name is none that a path takes for something else", async () => {
  const harness = await Harness.start();
  await harness.addStore("a");
  for (const name of [".", "..", "", "a/b", "a b", "é", "x".repeat(65)]) {
    await assert.rejects(
      harness.addVolume(name, 1),
      (error) => hasCode(error, "invalid") && /name/.test(error.message),
    );
  }
  for (const name of ["...", ".a", "..a", "a..", "x".repeat(64)]) await harness.addVolume(name, 1);
});
