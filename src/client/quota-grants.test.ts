/** What a client does with its grants of quota, with a leader that says what the test wants. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FileError } from "../errors/file-error.ts";
import { settle, testPlatform } from "../wire/testing/memory-network.ts";
import { LackingQuota, QuotaGrants } from "./quota-grants.ts";
import type { Session } from "./session.ts";
import { Operation } from "./waits.ts";

const account = { uid: 7, gid: 7, tree: 0 };

interface Asked {
  readonly held: { readonly seen: number; readonly amount: { bytes: number; inodes: number } };
  readonly needed: { bytes: number; inodes: number };
  readonly recall: boolean;
}

/** A leader that gives what it is told, and a journal that commits when it is told. */
class Setup {
  readonly asked: Asked[] = [];
  readonly platform = testPlatform();
  readonly journal = {
    position: 0,
    committedPosition: 0,
    committed: async (position: number) => {
      this.journal.committedPosition = Math.max(this.journal.committedPosition, position);
    },
  };
  readonly quotas: QuotaGrants;
  /** The answers to come; then nothing is left. */
  answers: { bytes: number | undefined; inodes: number | undefined }[] = [];
  hold: Promise<void> = Promise.resolve();

  constructor(version = 1) {
    const session = {
      id: 1,
      ended: false,
      request: async (_method: unknown, body: Asked) => {
        this.asked.push(body);
        await this.hold;
        return { number: this.asked.length, version: 1, ...(this.answers.shift() ?? { bytes: 0, inodes: 0 }) };
      },
    } as unknown as Session;
    const { clock } = this.platform;
    this.quotas = new QuotaGrants({ clock, session, journal: this.journal, quiet: async () => {} }, version);
  }

  obtain(bytes: number, inodes = 0): Promise<void> {
    const { clock } = this.platform;
    return this.quotas.obtain(new LackingQuota(account, { bytes, inodes }), new Operation("write", 1, clock.nowMs()));
  }

  /** A change that takes so much, and is in the journal. */
  change(bytes: number, inodes = 0): void {
    const charge = this.quotas.take(account, { bytes, inodes });
    this.journal.position += 1;
    this.quotas.placed([charge], this.journal.position);
  }

  held(): { bytes: number; inodes: number } {
    return this.quotas.held()[0]!.amount;
  }
}

const isOver = (error: unknown): boolean => error instanceof FileError && error.code === "EDQUOT";

test("what is granted is used without a request; what was used is held until it is committed", async () => {
  const setup = new Setup();
  setup.answers = [{ bytes: 100 << 20, inodes: 1000 }];
  assert.throws(() => setup.change(10), LackingQuota);
  await setup.obtain(10);
  for (let count = 0; count < 50; count++) setup.change(1 << 20, 1);
  assert.equal(setup.asked.length, 1);
  assert.deepEqual(setup.held(), { bytes: 100 << 20, inodes: 1000 });
  setup.journal.committedPosition = 20;
  setup.change(0, 1);
  // The first was a part of its own; the others that are committed are known to be with the last of them.
  assert.deepEqual(setup.held(), { bytes: 99 << 20, inodes: 999 });
  setup.journal.committedPosition = setup.journal.position;
  assert.deepEqual(setup.held(), { bytes: 50 << 20, inodes: 949 });
});

test("EDQUOT comes after everybody was asked, and for a moment from memory alone", async () => {
  const setup = new Setup();
  setup.answers = [{ bytes: 4096, inodes: 5 }];
  await setup.obtain(4096);
  setup.change(4096);
  await assert.rejects(setup.obtain(8192), isOver);
  assert.deepEqual(
    setup.asked.map(({ recall }) => recall),
    [false, false, true],
  );
  // Before the last question everything was committed.
  assert.deepEqual(setup.asked.at(-1)!.held.amount, { bytes: 0, inodes: 5 });
  await assert.rejects(setup.obtain(8192), isOver);
  assert.equal(setup.asked.length, 3);
  // Inodes were not refused, and something else was done: it is asked again.
  await setup.obtain(0, 1);
  setup.change(0, 1);
  setup.answers = [{ bytes: 8192, inodes: 0 }];
  await setup.obtain(8192);
  assert.equal(setup.asked.length, 4);
});

test("a recall takes what nobody needs, and says what is uncommitted or about to be used", async () => {
  const setup = new Setup();
  setup.answers = [{ bytes: 1 << 20, inodes: 10 }];
  await setup.obtain(4096);
  setup.change(4096);
  const release = setup.quotas.reserve(account, { bytes: 8192, inodes: 0 });
  assert.deepEqual(await setup.quotas.recall(1), [{ account, seen: 1, amount: { bytes: 8192, inodes: 0 } }]);
  release();
  release();
  setup.change(8192);
  assert.deepEqual(setup.held(), { bytes: 8192, inodes: 0 });
  assert.throws(() => setup.change(1), LackingQuota);
});

test("a grant that is on its way when a recall comes is neither lost nor counted twice", async () => {
  const setup = new Setup();
  const { promise, resolve } = Promise.withResolvers<void>();
  setup.hold = promise;
  setup.answers = [{ bytes: 10_000, inodes: 1 }];
  const obtaining = setup.obtain(10_000);
  await settle();
  // Not seen: the leader goes on counting it.
  assert.deepEqual(await setup.quotas.recall(1), [{ account, seen: 0, amount: { bytes: 0, inodes: 0 } }]);
  resolve();
  await obtaining;
  setup.change(10_000);
  assert.deepEqual(setup.quotas.held(), [{ account, seen: 1, amount: { bytes: 10_000, inodes: 1 } }]);
});

test("one question at a time for an account: who waits for the same answer asks one after the other", async () => {
  const setup = new Setup();
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  setup.hold = first.promise;
  setup.answers = [10, 20, 30].map((bytes) => ({ bytes, inodes: 0 }));
  const obtaining = [setup.obtain(10), setup.obtain(20), setup.obtain(30)];
  await settle();
  setup.hold = second.promise;
  first.resolve();
  await settle();
  assert.equal(setup.asked.length, 2);
  second.resolve();
  await Promise.all(obtaining);
  // Each has said what was given before.
  assert.deepEqual(
    setup.asked.map(({ held }) => held.amount.bytes),
    [0, 10, 30].slice(0, setup.asked.length),
  );
});

test("without limits nothing is counted, until limits have changed", async () => {
  const setup = new Setup();
  setup.answers = [{ bytes: undefined, inodes: undefined }];
  await setup.obtain(1);
  setup.change(1 << 40, 1_000_000);
  assert.deepEqual(setup.held(), { bytes: 0, inodes: 0 });
  assert.equal(setup.quotas.availableBytes(account), Number.POSITIVE_INFINITY);
  setup.quotas.learn(2);
  assert.throws(() => setup.change(1), LackingQuota);
  assert.equal(new Setup(0).quotas.isActive, false);
});
