import { strict as assert } from "node:assert";
import { test } from "node:test";
import { errno } from "../errors/errno.ts";
import { chunkNumbersPerGroup, groupOfChunk } from "../namespace/model.ts";
import type { Operation as NamespaceOperation, Result } from "../namespace/operation.ts";
import { Ids } from "./ids.ts";
import { Operation } from "./waits.ts";

const operation = new Operation("test", 1, 0);
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** Grants chunk ids of groups in turn; counts what is asked. */
function leader(groups: number, refuse = () => false) {
  const asked: NamespaceOperation[] = [];
  let next = 0;
  const submit = async (request: NamespaceOperation): Promise<Result> => {
    asked.push(request);
    if (refuse()) return { kind: "failed", errno: 28 };
    if (request.kind === "grantChunksOf") {
      const first = request.group * chunkNumbersPerGroup + 1_000_000 + asked.length * 100;
      return request.group < groups
        ? { kind: "granted", range: { first, count: request.count } }
        : { kind: "failed", errno: errno.EINVAL };
    }
    if (request.kind !== "grantInodes" && request.kind !== "grantChunks") return { kind: "done" };
    const group = request.kind === "grantChunks" ? asked.length % groups : 0;
    const first = group * chunkNumbersPerGroup + next;
    next += request.count;
    return { kind: "granted", range: { first, count: request.count } };
  };
  return { asked, submit };
}

test("ids are unique, asked for ahead, and chunks in turn of several groups", async () => {
  const { asked, submit } = leader(8);
  const ids = new Ids(submit);
  const chunks = new Set<number>();
  const groups: number[] = [];
  for (let round = 0; round < 3000; round++) {
    const chunk = await ids.takeChunk(operation, false, 0);
    assert.ok(!chunks.has(chunk));
    chunks.add(chunk);
    groups.push(groupOfChunk(chunk));
    await settle();
  }
  assert.equal(new Set(groups.slice(100, 104)).size, 4);
  assert.ok(asked.length < 30, `${asked.length} grants for 3,000 ids`);
  const group = groups.at(-1)!;
  assert.equal(groupOfChunk(ids.takeChunkOf(group, 0)!), group);
  assert.equal(ids.takeChunkOf(4711, 0), undefined);
});

test("chunk ids of a certain group are asked for once for all who want some; a group of another pool is asked for once", async () => {
  const { asked, submit } = leader(8);
  const ids = new Ids(submit);
  const wanted = Array.from({ length: 40 }, () => ids.fetchChunkOf(5, 0, operation));
  const got = await Promise.all(wanted);
  assert.equal(new Set(got).size, 40);
  assert.deepEqual([...new Set(got.map((chunk) => groupOfChunk(chunk!)))], [5]);
  const asks = () => asked.filter(({ kind }) => kind === "grantChunksOf").length;
  assert.ok(asks() <= 3, `${asks()} requests`);
  const before = asks();
  for (let round = 0; round < 3; round++) assert.equal(await ids.fetchChunkOf(4711, 0, operation), undefined);
  assert.equal(asks(), before + 1);
});

test("an inode number whose create failed is used again; a chunk whose write failed is discarded", async () => {
  const { asked, submit } = leader(1);
  const ids = new Ids(submit);
  const inode = await ids.takeInode(operation);
  ids.giveBackInode(inode);
  assert.equal(await ids.takeInode(operation), inode);
  const chunk = await ids.takeChunk(operation, true, 0);
  ids.giveBackChunk(chunk, 0);
  assert.equal(await ids.takeChunk(operation, false, 0), chunk);
  ids.discardChunk(77);
  assert.deepEqual(asked.at(-1), { kind: "discardChunks", chunks: [77] });
});

test("no ids to be had: ENOSPC for who waits, and asked again by the next", async () => {
  let full = true;
  const { submit } = leader(1, () => full);
  const ids = new Ids(submit);
  const take = async () => ids.takeChunk(operation, true, 0);
  await assert.rejects(take(), { code: "ENOSPC" });
  await assert.rejects(Promise.all([take(), take()]), { code: "ENOSPC" });
  full = false;
  assert.equal(typeof (await take()), "number");
});

test("first chunks of files come from one group for a while, then from the next", async () => {
  const { submit } = leader(8);
  const ids = new Ids(submit);
  const groups: number[] = [];
  for (let round = 0; round < 4000; round++) {
    groups.push(groupOfChunk(await ids.takeChunk(operation, true, 0)));
    await settle();
  }
  const changes = groups.filter((group, index) => index > 0 && group !== groups[index - 1]).length;
  assert.ok(changes < 60, `${changes} changes of group in ${groups.length} chunks`);
  assert.ok(new Set(groups).size > 4);
});
