import assert from "node:assert/strict";
import { test } from "node:test";
import { BrineError } from "../errors/brine-error.ts";
import { chunkNumbersPerGroup } from "../namespace/model.ts";
import type { CheckedPart } from "./chunk-check.ts";
import type { FakePeer } from "./testing/fake-peer.ts";
import { Harness } from "./testing/harness.ts";

/** A store answers with fewer chunks than it is asked for: only an empty list is the end. */
const chunksInAnswer = 256;

/** The store has these chunks. */
function storing(peer: FakePeer, chunks: Set<number>): void {
  peer.answer = (name, body: { after: number; limit: number; chunks: number[]; chunk: number }) => {
    if (name === "store.listExtents" && !chunks.has(body.chunk)) throw new BrineError("unknownChunk", "planted");
    if (name === "store.deleteChunks") for (const chunk of body.chunks) chunks.delete(chunk);
    if (name !== "store.listChunks") return {};
    const behind = [...chunks].filter((chunk) => chunk > body.after).sort((left, right) => left - right);
    return { chunks: behind.slice(0, Math.min(body.limit, chunksInAnswer)).map((chunk) => ({ chunk, digest: 0 })) };
  };
}

async function checkAll(harness: Harness, group: number, repair: boolean): Promise<CheckedPart[]> {
  const parts: CheckedPart[] = [];
  for (let after = 0; parts.at(-1)?.done !== true; after = parts.at(-1)!.upTo) {
    parts.push(await harness.parts.chunkCheck.part({ group, after, repair }));
  }
  return parts;
}

test("all chunks that are missing are named, however many members miss them", async () => {
  const harness = await Harness.start();
  const stores = [await harness.addStore("a"), await harness.addStore("b")];
  await harness.addVolume("home", 2);
  const { namespace } = harness.leader;
  const { group, volume } = namespace.groups()[0]!;
  const first = group * chunkNumbersPerGroup + 1;
  const mapped = Array.from({ length: 1_500 }, (_, at) => first + at);
  // Files that have mapped all of them would take many grants.
  namespace.mappedChunks = (_group, after, limit) => mapped.filter((chunk) => chunk > after).slice(0, limit);
  namespace.chunkOwner = (chunk) => ({ volume, inode: 1, index: chunk - first });
  for (const { peer } of stores) storing(peer, new Set());
  const found = (await checkAll(harness, group, false)).flatMap(({ missing }) => missing);
  assert.equal(found.length, 2 * mapped.length);
  assert.equal(new Set(found.map(({ chunk, store }) => `${chunk} ${store}`)).size, 2 * mapped.length);
});

const sum = (parts: readonly CheckedPart[], what: "orphaned" | "removed") =>
  parts.reduce((total, part) => total + part[what], 0);

test("all chunks that nothing refers to are found, however many a store has", async () => {
  const harness = await Harness.start();
  const stores = [await harness.addStore("a"), await harness.addStore("b")];
  await harness.addVolume("home", 2);
  const { group } = harness.leader.namespace.groups()[0]!;
  const first = group * chunkNumbersPerGroup + 1_000_000;
  const kept = stores.map(({ peer }) => {
    const chunks = new Set(Array.from({ length: 3 * chunksInAnswer + 1 }, (_, at) => first + at));
    storing(peer, chunks);
    return chunks;
  });
  const count = 2 * kept[0]!.size;
  assert.equal(sum(await checkAll(harness, group, false), "orphaned"), count);
  assert.equal(sum(await checkAll(harness, group, true), "removed"), count);
  assert.deepEqual(
    kept.map((chunks) => chunks.size),
    [0, 0],
  );
  assert.equal(sum(await checkAll(harness, group, false), "orphaned"), 0);
});
