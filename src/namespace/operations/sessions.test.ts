/** Sessions: exactly once, grants, and what a session leaves behind. */
import { strict as assert } from "node:assert";
import { beforeEach, test } from "node:test";
import { unconfirmedResultsMax } from "../apply.ts";
import { chunkGrantMax, chunkNumbersPerGroup, groupOfChunk, inodeGrantMax, type Range } from "../model.ts";
import type { Operation, Result } from "../operation.ts";
import { openGrantsMax } from "../tables/session-table.ts";
import { assertFails, type DrivenSession, Driver, describe, writing } from "../testing/driver.ts";

let driver: Driver;
let session: DrivenSession;
let root: number;

beforeEach(() => {
  driver = new Driver();
  root = driver.makeVolume();
  session = driver.openSession();
});

function grantedRange(result: Result): Range {
  if (result.kind !== "granted") assert.fail(describe(result));
  return result.range;
}

test("the same client finds its session again", () => {
  session.file(root, "a");
  const open = (clientId: string, volume = 1) => driver.leader({ kind: "openSession", clientId, volume, host: "" });
  assert.deepEqual(open("client"), { kind: "session", session: session.id, lastSequence: session.sequence });
  assert.deepEqual(open("second"), { kind: "session", session: session.id + 1, lastSequence: 0 });
  driver.makeVolume("other");
  assertFails(open("client", 2), "EINVAL");
  assertFails(open("", 1), "EINVAL");
  assertFails(open("third", 9), "ENOENT");
});

test("a resend has the result it had, and changes nothing", () => {
  const creation = session.transaction(session.creation("file", root, "a"));
  const [result] = driver.apply(creation);
  assert.equal(result!.kind, "attributes");
  const failing = session.transaction(session.creation("file", root, "a"));
  failing.confirmed = creation.sequence - 1;
  assertFails(driver.apply(failing)[0]!, "EEXIST");
  session.removed({ kind: "unlink", parent: root, name: "a" });
  // Confirmed by the unlink.
  assertFails(driver.apply(creation)[0]!, "ESTALE");
  const again = session.transaction(session.creation("file", root, "b"));
  const [first, second, third] = driver.apply(again, again, again);
  assert.deepEqual(second, first);
  assert.deepEqual(third, first);
});

test("gaps, wrong confirmations and unknown sessions are refused, and use no number up", () => {
  const next = session.transaction(session.creation("file", root, "a"));
  assertFails(driver.apply({ ...next, sequence: next.sequence + 1 })[0]!, "EINVAL");
  assertFails(driver.apply({ ...next, confirmed: next.sequence })[0]!, "EINVAL");
  assertFails(driver.apply({ ...next, session: 99 })[0]!, "ESTALE");
  assert.equal(driver.apply(next)[0]!.kind, "attributes");
});

test("a client that confirms nothing is stopped, and goes on once it confirms", () => {
  const first = session.transaction(session.creation("file", root, "first"));
  const { sequence, confirmed, timeNs } = first;
  assert.equal(driver.apply(first)[0]!.kind, "attributes");
  const operation: Operation = { kind: "unlink", parent: root, name: "none" };
  // Number `sequence + at` has `at + 1` results unconfirmed: the last one that fits has the bound.
  const many = Array.from({ length: unconfirmedResultsMax }, (_, at) => {
    return { session: session.id, sequence: sequence + 1 + at, confirmed, timeNs, predicted: false, operation };
  });
  const results = driver.apply(...many);
  assert.deepEqual(results.slice(-2).map(describe), ["ENOENT", "EINVAL"]);
  assertFails(driver.apply({ ...many.at(-1)!, confirmed: sequence })[0]!, "ENOENT");
});

test("a predicted success has the client's time and keeps no result; a predicted failure is kept", () => {
  const predict = (operation: Operation, timeNs: bigint) => {
    return { ...session.transaction(operation), confirmed: 0, predicted: true, timeNs };
  };
  const creation = predict(session.creation("file", root, "a"), 5_000_000_000n);
  const failing = predict(session.creation("file", root, "a"), 5_000_000_001n);
  const removal = predict({ kind: "unlink", parent: root, name: "a" }, 5_000_000_002n);
  const [created, failed, removed] = driver.apply(creation, failing, removal);
  if (created!.kind !== "attributes" || removed!.kind !== "removed") assert.fail(describe(created!));
  assert.equal(created!.attributes.mtimeNs, 5_000_000_000n);
  assertFails(failed!, "EEXIST");
  const again = driver.apply(creation, failing, removal);
  assert.deepEqual([again[0], again[2]], [{ kind: "done" }, { kind: "done" }]);
  assertFails(again[1]!, "EEXIST");
  driver.reopen();
  assert.deepEqual(driver.namespace.storedResult(session.id, creation.sequence), { kind: "done" });
  assertFails(driver.namespace.storedResult(session.id, failing.sequence)!, "EEXIST");
  // Confirmed: gone, whether kept or not.
  session.run({ kind: "grantInodes", count: 1 });
  assertFails(driver.apply(creation)[0]!, "ESTALE");
  assert.equal(driver.namespace.storedResult(session.id, failing.sequence), undefined);
});

test("operations of the wrong side", () => {
  assertFails(driver.leader(writing(root, 0)), "EINVAL");
  assertFails(session.run({ kind: "closeSession", session: session.id }), "EPERM");
});

test("grants are capped, and finished ones are dropped", () => {
  const inodes = grantedRange(session.run({ kind: "grantInodes", count: 1_000_000 }));
  assert.equal(inodes.count, inodeGrantMax);
  const chunks = grantedRange(session.run({ kind: "grantChunks", count: 1_000_000, pool: 0 }));
  assert.equal(chunks.count, chunkGrantMax);
  assertFails(session.run({ kind: "grantInodes", count: 0 }), "EINVAL");
  assertFails(session.run({ kind: "grantChunks", count: 0, pool: 0 }), "EINVAL");
  const small = grantedRange(session.run({ kind: "grantInodes", count: 2 }));
  assert.deepEqual(driver.namespace.session(session.id)!.inodeRanges, [inodes, small]);
  session.file(root, "a", { inode: small.first + 1 });
  session.file(root, "b", { inode: small.first });
  assert.deepEqual(driver.namespace.session(session.id)!.inodeRanges, [inodes]);
  assert.deepEqual(driver.namespace.session(session.id)!.chunkRanges, [chunks]);
  driver.reopen();
  assert.deepEqual(driver.namespace.session(session.id)!.chunkRanges, [chunks]);
});

test("groups take turns, and those without a member in sync are passed over", () => {
  const groupOfGrant = () => groupOfChunk(grantedRange(session.run({ kind: "grantChunks", count: 8, pool: 0 })).first);
  assert.deepEqual([groupOfGrant(), groupOfGrant(), groupOfGrant()], [1, 2, 1]);
  driver.leader({
    kind: "createVolume",
    name: "triple",
    replicas: 3,
    inSyncMin: 1,
    uid: 0,
    gid: 0,
    mode: 0o755,
    groups: [],
  });
  const triple = driver.openSession("triple", 2);
  assertFails(triple.run({ kind: "grantChunks", count: 8, pool: 0 }), "ENOSPC");
  const range = grantedRange(session.run({ kind: "grantChunks", count: 8, pool: 0 }));
  assert.equal(range.first, 2 * chunkNumbersPerGroup + 8);
});

test("of too many unfinished grants the oldest is taken back", () => {
  const transactions = Array.from({ length: openGrantsMax + 1 }, () =>
    session.transaction({ kind: "grantChunks", count: 2, pool: 0 }),
  );
  const ranges = driver.apply(...transactions).map(grantedRange);
  const oldest = ranges[0]!;
  assert.equal(driver.namespace.session(session.id)!.chunkRanges.length, openGrantsMax);
  assert.deepEqual(driver.namespace.chunksToDelete(0, 10), [oldest.first, oldest.first + 1]);
  const file = session.file(root, "a");
  assertFails(session.run(writing(file, 1, [{ index: 0, chunk: oldest.first }])), "EINVAL");
  assert.equal(session.attributes(writing(file, 1, [{ index: 0, chunk: ranges[1]!.first }])).chunkCount, 1);
});

test("a session that ends leaves its unmapped chunks to be deleted", () => {
  const range = grantedRange(session.run({ kind: "grantChunks", count: 10, pool: 0 }));
  const at = (offset: number) => range.first + offset;
  const file = session.file(root, "a");
  session.attributes(writing(file, 1, [{ index: 0, chunk: at(3) }]));
  session.attributes(writing(file, 1, [{ index: 0, chunk: at(5) }]));
  assert.equal(session.run({ kind: "discardChunks", chunks: [at(7)] }).kind, "done");
  assertFails(session.run({ kind: "discardChunks", chunks: [at(7)] }), "EINVAL");
  assertFails(session.run({ kind: "discardChunks", chunks: [at(8), at(8)] }), "EINVAL");
  assert.deepEqual(driver.namespace.chunksToDelete(0, 10), [at(3), at(7)]);
  const unused = [0, 1, 2, 4, 6, 8, 9].map(at);
  assert.deepEqual(driver.namespace.unmappedChunksOf(range, 0, 100), unused);
  assert.deepEqual(driver.namespace.unmappedChunksOf(range, at(2), 2), [at(4), at(6)]);

  assert.equal(driver.leader({ kind: "closeSession", session: session.id }).kind, "done");
  assertFails(driver.leader({ kind: "closeSession", session: session.id }), "ENOENT");
  assertFails(session.run(session.creation("file", root, "b", { inode: 50 })), "ESTALE");
  assert.deepEqual(driver.namespace.sessions(), []);
  assert.deepEqual(driver.namespace.unmappedChunksOf(range, 0, 100), unused);
  const toDelete = [0, 1, 2, 3, 4, 6, 7, 8, 9].map(at);
  assert.equal(driver.namespace.chunksToDeleteCount, 9);
  assert.deepEqual(driver.namespace.chunksToDelete(0, 100), toDelete);
  assert.deepEqual(driver.namespace.chunksToDelete(0, 4), toDelete.slice(0, 4));
  assert.deepEqual(driver.namespace.chunksToDelete(at(3), 4), toDelete.slice(4, 8));

  driver.leader({ kind: "chunksDeleted", chunks: [at(0), at(3), at(5), at(9)] });
  assert.deepEqual(driver.namespace.chunksToDelete(0, 100), [1, 2, 4, 6, 7, 8].map(at));
  driver.reopen();
  driver.leader({ kind: "chunksDeleted", chunks: toDelete });
  assert.equal(driver.namespace.chunksToDeleteCount, 0);
  assert.deepEqual(driver.namespace.unmappedChunksOf(range, 0, 100), []);
  assert.deepEqual(driver.namespace.chunkOwner(at(5)), { volume: 1, inode: file, index: 0 });
});

test("many retired grants are listed in order, in pages", () => {
  const transactions = Array.from({ length: 40 }, () =>
    session.transaction({ kind: "grantChunks", count: 5, pool: 0 }),
  );
  const ranges = driver.apply(...transactions).map(grantedRange);
  driver.leader({ kind: "closeSession", session: session.id });
  const all = ranges.flatMap(({ first, count }) => Array.from({ length: count }, (_, at) => first + at));
  all.sort((left, right) => left - right);
  const listed: number[] = [];
  for (;;) {
    const page = driver.namespace.chunksToDelete(listed.at(-1) ?? 0, 7);
    if (page.length === 0) break;
    listed.push(...page);
  }
  assert.deepEqual(listed, all);
});
