/** What a store says of its disk's speed. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { testPlatform } from "../wire/testing/memory-network.ts";
import { MemoryDisk } from "./testing/memory-disk.ts";
import { WatchedDisk } from "./watched-disk.ts";

test("the average follows the disk, counts what has no answer yet, and is forgotten when nothing is done", async () => {
  const { clock } = testPlatform();
  const memory = new MemoryDisk();
  const disk = new WatchedDisk(memory, clock);
  assert.equal(disk.latencyMs, undefined);
  const file = await disk.open("/file", { create: true });
  const write = async (ms: number) => {
    const hang = Promise.withResolvers<void>();
    memory.hang = hang.promise;
    const writing = file.write([new Uint8Array(4096)], 0);
    await clock.advance(ms);
    const before = disk.latencyMs!;
    memory.hang = undefined;
    hang.resolve();
    await writing;
    return before;
  };
  for (let index = 0; index < 20; index++) await write(2);
  assert.ok(disk.latencyMs! >= 1.9 && disk.latencyMs! <= 2.1, `${disk.latencyMs}`);
  assert.equal(await write(500), 500, "before it ends");
  for (let index = 0; index < 40; index++) await write(200);
  assert.ok(disk.latencyMs! > 180, `${disk.latencyMs}`);
  for (let index = 0; index < 400; index++) await write(20);
  assert.ok(disk.latencyMs! < 50, `${disk.latencyMs}`);
  await clock.advance(60_000);
  assert.equal(disk.latencyMs, undefined);
});
