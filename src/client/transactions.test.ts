/** Transactions on connections that answer, break and refuse as the test says. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { BrineError } from "../errors/brine-error.ts";
import type { FileError } from "../errors/file-error.ts";
import type { Operation, Result } from "../namespace/operation.ts";
import { realPlatform } from "../platform/real.ts";
import type { Peer } from "../wire/peer.ts";
import type { Session } from "./session.ts";
import { type Outgoing, Transactions } from "./transactions.ts";

const settle = () => new Promise((resolve) => setTimeout(resolve, 2));

interface Sent {
  readonly first: number;
  readonly confirmed: number;
  readonly transactions: { operation: { name: string } }[];
  /** Executes the first `count` of the batch, all by default; the rest is refused. */
  answer(count?: number, refused?: { code: string; reason: string }): void;
  fail(error: BrineError): void;
}

class TestPeer {
  closed = false;
  readonly sent: Sent[] = [];

  request(_method: unknown, body: Omit<Sent, "answer" | "fail">): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const answer = (count = body.transactions.length, refused?: { code: string; reason: string }) => {
        const results: Result[] = Array.from({ length: count }, () => ({ kind: "done" }));
        resolve({ body: { results, refused } });
      };
      this.sent.push({ ...body, answer, fail: reject });
    });
  }

  break(): void {
    this.closed = true;
    for (const one of this.sent) one.fail(new BrineError("closed", "broken"));
  }
}

function operationNamed(name: string): Operation {
  return { kind: "unlink", parent: 1, name };
}

function make() {
  const session = {
    id: 1,
    ended: undefined as string | undefined,
    end(reason: string) {
      session.ended = reason;
    },
    drop: (peer: TestPeer) => {
      peer.closed = true;
    },
  };
  const journal: Outgoing[] = [];
  const outcomes: string[] = [];
  const platform = realPlatform({ logTo: () => {} });
  const transactions = new Transactions(platform, session as unknown as Session, platform.logger, {
    next: () => journal.shift(),
    lost: (failure: FileError) => outcomes.push(`lost ${failure.code}`),
  });
  const connect = () => {
    const peer = new TestPeer();
    transactions.connected(peer as unknown as Peer);
    return peer;
  };
  const submit = (name: string) => transactions.submit(operationNamed(name));
  const append = (name: string) => {
    const answered = (result: Result) => outcomes.push(`${name} ${result.kind}`);
    journal.push({ operation: operationNamed(name), timeNs: 1n, answered, refused: undefined });
  };
  return { session, transactions, connect, submit, append, outcomes };
}

const namesOf = (sent: readonly Sent[]) =>
  sent.map(({ first, transactions }) => `${first}${transactions.map(({ operation }) => operation.name).join("")}`);

test("what is ready goes in one batch, callers of submit first; four batches are under way at most", async () => {
  const { connect, submit, append, transactions, outcomes } = make();
  for (const name of ["a", "b", "c"]) append(name);
  const all = [submit("s")];
  const peer = connect();
  assert.deepEqual(namesOf(peer.sent), ["1sabc"]);
  for (const name of ["d", "e", "f", "g"]) {
    append(name);
    transactions.pump();
  }
  assert.deepEqual(namesOf(peer.sent), ["1sabc", "5d", "6e", "7f"]);
  assert.equal(peer.sent[3]!.confirmed, 0);
  peer.sent[0]!.answer();
  await settle();
  assert.deepEqual(namesOf(peer.sent).slice(4), ["8g"]);
  assert.equal(peer.sent[4]!.confirmed, 4);
  await Promise.all(all);
  assert.deepEqual(outcomes, ["a done", "b done", "c done"]);
});

test("after a reconnect exactly what is unanswered is sent again, in order, before anything new", async () => {
  const { connect, append, transactions, outcomes } = make();
  const first = connect();
  for (const name of ["a", "b", "c"]) {
    append(name);
    transactions.pump();
  }
  first.sent[0]!.answer();
  await settle();
  first.break();
  await settle();
  append("d");
  const second = connect();
  assert.deepEqual(namesOf(second.sent), ["2b", "3c", "4d"]);
  for (const one of second.sent) one.answer();
  await settle();
  assert.deepEqual(outcomes, ["a done", "b done", "c done", "d done"]);
});

test("what a full leader refuses is numbered anew and sent again; who waits for a submit gets the error", async () => {
  const { connect, submit, append, transactions, outcomes } = make();
  const peer = connect();
  append("a");
  append("b");
  const refused = assert.rejects(submit("s"), { code: "ENOSPC" });
  append("c");
  transactions.pump();
  assert.deepEqual(namesOf(peer.sent), ["1sab", "4c"]);
  // The second batch meets the gap, and its refusal overtakes the answer of the first.
  peer.sent[1]!.answer(0, { code: "invalid", reason: "a gap" });
  await settle();
  peer.sent[0]!.answer(0, { code: "noSpace", reason: "full" });
  await refused;
  await settle();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(namesOf(peer.sent).slice(2), ["1abc"]);
  peer.sent[2]!.answer();
  await settle();
  assert.deepEqual(outcomes, ["a done", "b done", "c done"]);
});

test("a transaction that will never be executed counts as failed; those behind it go on", async () => {
  const { connect, append, transactions, outcomes } = make();
  const peer = connect();
  for (const name of ["a", "b", "c"]) append(name);
  transactions.pump();
  peer.sent[0]!.answer(1, { code: "invalid", reason: "no lease" });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(namesOf(peer.sent).slice(1), ["2c"]);
  peer.sent[1]!.answer();
  await settle();
  assert.deepEqual(outcomes, ["a done", "b failed", "c done"]);
});

test("a refusal that is followed by a reconnect is not forgotten", async () => {
  const { connect, append, transactions, outcomes } = make();
  const first = connect();
  append("a");
  transactions.pump();
  append("b");
  transactions.pump();
  first.sent[0]!.answer(0, { code: "noSpace", reason: "full" });
  await settle();
  first.break();
  const second = connect();
  assert.deepEqual(namesOf(second.sent), ["2b"], "still under way, to meet the gap again");
  second.sent[0]!.answer(0, { code: "invalid", reason: "a gap" });
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(namesOf(second.sent).slice(1), ["1ab"]);
  second.sent[1]!.answer();
  await settle();
  assert.deepEqual(outcomes, ["a done", "b done"]);
});

test("the end of the session fails those who wait, once", async () => {
  const { connect, submit, append, transactions, outcomes } = make();
  connect();
  const waiting = assert.rejects(submit("s"), { code: "EIO" });
  append("a");
  transactions.pump();
  transactions.lost("fenced");
  await waiting;
  assert.deepEqual(outcomes, ["lost EIO"]);
});
