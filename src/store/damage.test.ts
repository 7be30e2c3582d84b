import { strict as assert } from "node:assert";
import { test } from "node:test";
import { DamageNote, noteIfGone } from "./damage.ts";
import { MemoryPlatform } from "./testing/memory-platform.ts";

test("a directory that has to be there and is empty has lost everything; the note outlives a crash", async () => {
  const platform = new MemoryPlatform();
  await noteIfGone(platform, "store");
  const { damage } = await DamageNote.read(platform, "store");
  assert.equal(damage?.loss, "certain");
  assert.match(damage.reason, /everything is gone from store/);
});

test("a directory with anything in it is left to those who read it", async () => {
  const platform = new MemoryPlatform();
  await platform.disk.writeFile("store/leader-term", new Uint8Array(1));
  await noteIfGone(platform, "store");
  assert.equal((await DamageNote.read(platform, "store")).damage, undefined);
});
