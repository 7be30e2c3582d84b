/** What the copy has follows what the leader has, however connections break and whatever the copy had before. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { BrineError } from "../../errors/brine-error.ts";
import { MemoryDisk } from "../../store/testing/memory-disk.ts";
import { appendEntries, attachCopy, replaceState } from "../../wire/catalogue/ledger.ts";
import type { Method } from "../../wire/method.ts";
import type { Peer } from "../../wire/peer.ts";
import { settle, testPlatform } from "../../wire/testing/memory-network.ts";
import { FileLedger } from "../file/file-ledger.ts";
import type { LedgerEntry } from "../ledger.ts";
import { CopyFeed } from "./copy-feed.ts";
import { defaultCopyTimeouts } from "./copy-timeouts.ts";
import { FakeCopy, stateOf } from "./testing/fake-copy.ts";

const pages = 3;

/** A leader's log, its copy, and the feed between them while there is a connection. */
class Model {
  readonly copy = new FakeCopy();
  readonly file: FileLedger;
  feed: CopyFeed | undefined;
  progress = 0;
  /** The leader has no state to give yet. */
  isStarting = false;
  /** Requests that still get through on this connection. */
  requestsLeft = Number.POSITIVE_INFINITY;
  #disconnect: (() => void) | undefined;
  #written = 0;

  private constructor(file: FileLedger) {
    this.file = file;
  }

  static async start(): Promise<Model> {
    const random = { bytes: (length: number) => Buffer.alloc(length, 7), below: () => 0 };
    const platform = { ...testPlatform(), disk: new MemoryDisk(), random };
    const file = await FileLedger.open(platform, "/ledger");
    await file.begin(1);
    return new Model(file);
  }

  connect(requestsLeft: number): void {
    this.disconnect();
    this.requestsLeft = requestsLeft;
    let closed = false;
    const onClose: ((reason: string) => void)[] = [];
    this.#disconnect = () => {
      if (closed) return;
      closed = true;
      for (const callback of onClose) callback("cut off, says the test");
    };
    const peer = {
      get closed() {
        return closed;
      },
      onClose: (callback: (reason: string) => void) => onClose.push(callback),
      request: async (method: Method<unknown, unknown>, body: never) => {
        await settle();
        if (closed) throw new BrineError("closed", "cut off, says the test");
        const answer = this.#answer(method, body);
        this.requestsLeft -= 1;
        // The copy has it, and the leader doesn't hear of that.
        if (this.requestsLeft <= 0) this.disconnect();
        if (closed) throw new BrineError("closed", "cut off, says the test");
        return { body: answer, payload: new Uint8Array() };
      },
    } as unknown as Peer;
    const feed = new CopyFeed({
      ...{ peer, file: this.file, term: this.file.term, timeouts: defaultCopyTimeouts },
      source: () => (this.isStarting ? undefined : stateOf(() => this.file.lastIndex, pages)),
      onAttached: async () => {},
      current: () => undefined,
      onProgress: () => {
        this.progress += 1;
        assert.ok(feed.acked <= this.copy.lastIndex, "nothing counts as there that isn't");
      },
    });
    this.feed = feed;
    feed.run().catch((error) => {
      if (!(error instanceof BrineError) || error.code !== "closed") throw error;
    });
  }

  disconnect(): void {
    this.#disconnect?.();
    this.#disconnect = undefined;
    this.feed = undefined;
  }

  async append(): Promise<void> {
    this.#written += 1;
    await this.file.append(Buffer.from(`entry ${this.#written}`));
    this.feed?.poke();
  }

  /** As the leader does it: what the feed needs stays. */
  async truncate(): Promise<void> {
    await this.file.truncate(Math.min(this.file.lastIndex, this.feed?.neededIndex ?? this.file.lastIndex));
  }

  /** The copy had led meanwhile, and has an entry that the leader knows nothing of. */
  diverge(): void {
    // While its state is being replaced it leads nobody.
    if (this.feed !== undefined || this.copy.isReplacing) return;
    this.copy.append([{ index: this.copy.lastIndex + 1, term: this.file.term + 1_000, batch: Buffer.of(1) }]);
  }

  async check(): Promise<void> {
    const isThere = () => this.feed!.state === "following" && this.feed!.acked === this.file.lastIndex;
    for (let round = 0; round < 200 && !isThere(); round++) await settle();
    assert.ok(isThere(), `${this.feed!.state}, ${this.feed!.acked} of ${this.file.lastIndex}`);
    assert.equal(this.copy.lastIndex, this.file.lastIndex);
    const expected: LedgerEntry[] = [];
    for await (const entry of this.file.read(this.file.firstIndex)) expected.push(entry);
    const from = Math.max(this.file.firstIndex, this.copy.entries[0]?.index ?? 0);
    assert.deepEqual(
      this.copy.entries.filter(({ index }) => index >= from).map(shown),
      expected.filter(({ index }) => index >= from).map(shown),
    );
  }

  #answer(method: Method<unknown, unknown>, body: never): unknown {
    if ((method as unknown) === attachCopy) return this.copy.attach();
    if ((method as unknown) === appendEntries) this.copy.append((body as { entries: LedgerEntry[] }).entries);
    else if ((method as unknown) === replaceState) this.copy.replace(body);
    else assert.fail(method.name);
    return {};
  }
}

function shown({ index, term, batch }: LedgerEntry): string {
  return `${index} of term ${term}: ${Buffer.from(batch)}`;
}

const step = fc.oneof(
  { weight: 6, arbitrary: fc.constant({ kind: "append" as const, requests: 0 }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("connect" as const), requests: fc.integer({ min: 1, max: 9 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "disconnect" as const, requests: 0 }) },
  { weight: 1, arbitrary: fc.constant({ kind: "truncate" as const, requests: 0 }) },
  { weight: 1, arbitrary: fc.constant({ kind: "diverge" as const, requests: 0 }) },
  { weight: 2, arbitrary: fc.constant({ kind: "settle" as const, requests: 0 }) },
);

test("however connections break, logs are truncated and copies part: connected again, the copy has what the leader has", async () => {
  let replaced = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const model = await Model.start();
      for (const { kind, requests } of steps) {
        if (kind === "connect") model.connect(requests);
        else if (kind === "settle") await settle();
        else await model[kind]();
      }
      model.connect(Number.POSITIVE_INFINITY);
      await model.check();
      await model.append();
      await model.check();
      replaced += model.copy.replacements;
      model.disconnect();
    }),
    { numRuns: 60 },
  );
  assert.ok(replaced > 0, "some copies had to be replaced");
});

test("a copy whose log is a beginning of the leader's gets the rest, and no state", async () => {
  const model = await Model.start();
  for (let count = 0; count < 5; count++) await model.append();
  model.connect(Number.POSITIVE_INFINITY);
  await model.check();
  model.disconnect();
  for (let count = 0; count < 5; count++) await model.append();
  model.connect(Number.POSITIVE_INFINITY);
  await model.check();
  assert.equal(model.copy.replacements, 0);
});

test("a copy behind what was removed, or with an entry of its own, is replaced; broken off, it is begun again", async () => {
  const model = await Model.start();
  for (let count = 0; count < 5; count++) await model.append();
  model.diverge();
  model.connect(2);
  for (let round = 0; round < 20; round++) await settle();
  assert.equal(model.copy.replacements, 0, "only its first page has come");
  model.connect(Number.POSITIVE_INFINITY);
  await model.check();
  assert.equal(model.copy.replacements, 1);
  assert.equal(model.copy.rows, pages);
});

test("a copy that has to be replaced stays connected while the leader is starting: its leave to serve may be needed for that", async () => {
  const model = await Model.start();
  for (let count = 0; count < 5; count++) await model.append();
  model.diverge();
  model.isStarting = true;
  model.connect(Number.POSITIVE_INFINITY);
  const { feed } = model;
  for (let round = 0; round < 20; round++) await settle();
  assert.equal(feed!.state, "attaching");
  model.isStarting = false;
  feed!.poke();
  await model.check();
  assert.equal(model.feed, feed);
  assert.equal(model.copy.replacements, 1);
});
