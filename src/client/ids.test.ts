import { strict as assert } from "node:assert";
import { test } from "node:test";
import { errno } from "../errors/errno.ts";
import { chunkNumbersPerGroup, groupOfChunk } from "../namespace/model.ts";
import type { Operation as NamespaceOperation, Result } from "../namespace/operation.ts";
import type { Room } from "./content/space-grants.ts";
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

test("chunks come of groups with ample room, then of such with little, and of full ones only if there are no others", async () => {
  const { asked, submit } = leader(8);
  const ids = new Ids(submit);
  const rooms = new Map<number, Room>();
  ids.roomIn = (group) => rooms.get(group) ?? "ample";
  const take = async (isFirst: boolean): Promise<number> => {
    const chunk = await ids.takeChunk(operation, isFirst, 0);
    await settle();
    return groupOfChunk(chunk);
  };
  for (const group of [0, 1, 2, 3, 4, 6, 7]) rooms.set(group, group < 3 ? "none" : "scarce");
  // One more range is asked for each time until there is one of group 5.
  for (let round = 0; round < 8; round++) await take(false);
  for (let round = 0; round < 200; round++) assert.equal(await take(round % 2 === 0), 5);
  rooms.set(5, "none");
  for (let round = 0; round < 200; round++) assert.equal(rooms.get(await take(round % 2 === 0)), "scarce");
  for (let group = 0; group < 8; group++) rooms.set(group, "none");
  const before = asked.length;
  const taken = new Set<number>();
  for (let round = 0; round < 500; round++) taken.add(await take(false));
  assert.ok(taken.size > 4, `${taken.size} groups`);
  // However long it lasts: ids of full groups are not heaped up.
  assert.ok(asked.length - before < 80, `${asked.length - before} requests`);
});

test("a chunk that is given back is used again when its group has room", async () => {
  const { submit } = leader(2);
  const ids = new Ids(submit);
  const chunk = await ids.takeChunk(operation, true, 0);
  ids.roomIn = (group) => (group === groupOfChunk(chunk) ? "none" : "ample");
  ids.giveBackChunk(chunk, 0);
  for (let round = 0; round < 10; round++) {
    assert.notEqual(groupOfChunk(await ids.takeChunk(operation, false, 0)), groupOfChunk(chunk));
  }
  ids.roomIn = () => "ample";
  assert.equal(await ids.takeChunk(operation, false, 0), chunk);
});
