/** Who asks for an inode that another client has made and not committed yet. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { coverGrant } from "./grants.ts";
import { FakePeer } from "./testing/fake-peer.ts";
import { type Client, createFile, Harness } from "./testing/harness.ts";

interface Setup {
  readonly harness: Harness;
  readonly maker: Client;
  readonly other: Client;
  readonly inode: number;
  /** How often the maker was asked. */
  readonly askedCount: () => number;
  /** The maker answers what it is asked, and will be. */
  readonly answer: () => void;
}

/** The maker has got a number, and is slow to answer. */
async function setup(): Promise<Setup> {
  const harness = await Harness.start();
  await harness.addStore("a");
  await harness.addVolume("home", 1);
  const maker = await harness.mount("maker", "home");
  const other = await harness.mount("other", "home");
  await maker.acquire(maker.root, "exclusive");
  const inode = await maker.inode();
  const usual = maker.peer.answer;
  const answered = Promise.withResolvers<void>();
  maker.peer.answer = (name, body) =>
    name === "client.commitInode" ? answered.promise.then(() => ({})) : usual(name, body);
  const askedCount = () => maker.peer.bodies<{ inode: number }>("client.commitInode").length;
  return { harness, maker, other, inode, askedCount, answer: () => answered.resolve() };
}

/** The error's code, or the mode of what was granted. */
function outcome(asked: Promise<{ mode: string }>): Promise<string> {
  return asked.then(
    ({ mode }) => mode,
    ({ code }) => code,
  );
}

test("its maker is asked to commit it, and then its lease is asked for as any other", async () => {
  const { harness, maker, other, inode, askedCount, answer } = await setup();
  let found: string | undefined;
  const asked = outcome(other.ask(inode, "shared", 0)).then((value) => {
    found = value;
  });
  await harness.clock.advance(100);
  assert.deepEqual([askedCount(), found], [1, undefined]);
  assert.deepEqual(maker.peer.bodies("client.commitInode"), [{ inode }]);
  const made = await maker.transact(createFile(maker.root, "f", inode));
  assert.equal(made.kind, "attributes");
  maker.held.set(inode, { inode, mode: "exclusive", grant: coverGrant });
  answer();
  await harness.clock.advance(10);
  await asked;
  assert.equal(found, "shared");
});

test("a number that its owner has made nothing of is ENOENT, and can still be used", async () => {
  const { maker, other, inode, askedCount, answer } = await setup();
  answer();
  assert.equal(await outcome(other.ask(inode, "exclusive", 0)), "ENOENT");
  assert.equal(askedCount(), 1);
  assert.equal((await maker.transact(createFile(maker.root, "f", inode))).kind, "attributes");
  assert.ok(maker.leases.has(maker.session.id, inode, "exclusive"), "its cover");
});

test("nobody is asked about numbers that nobody has, and not who asks", async () => {
  const { maker, other, inode, askedCount } = await setup();
  assert.equal(await outcome(other.ask(inode + 1_000_000, "shared", 0)), "ENOENT");
  assert.equal(await outcome(maker.ask(inode, "shared", 0)), "ENOENT");
  assert.equal(askedCount(), 0);
});

test("a maker whose connection ends is asked on the next one", async () => {
  const { harness, maker, other, inode, answer } = await setup();
  const asked = outcome(other.ask(inode, "shared", 0));
  await harness.clock.advance(10);
  maker.peer.close("cut");
  const next = new FakePeer("client");
  maker.state(next);
  await harness.clock.advance(5_000);
  assert.equal(next.bodies("client.commitInode").length, 1);
  assert.equal(await asked, "ENOENT");
  answer();
});
