/** Transactions on connections that answer, break and refuse as the test says. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { BrineError } from "../errors/brine-error.ts";
import type { Operation } from "../namespace/operation.ts";
import { realLogger } from "../platform/real-logger.ts";
import type { Peer } from "../wire/peer.ts";
import type { Session } from "./session.ts";
import { Transactions } from "./transactions.ts";

const settle = () => new Promise((resolve) => setImmediate(resolve));

interface Sent {
  readonly sequence: number;
  readonly confirmed: number;
  readonly operation: { name: string };
  answer(): void;
  fail(error: BrineError): void;
}

class TestPeer {
  closed = false;
  readonly sent: Sent[] = [];

  request(_method: unknown, body: Omit<Sent, "answer" | "fail">): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.sent.push({ ...body, answer: () => resolve({ body: { result: { kind: "done" } } }), fail: reject });
    });
  }

  break(): void {
    this.closed = true;
    for (const one of this.sent) one.fail(new BrineError("closed", "broken"));
  }
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
  const transactions = new Transactions(
    session as unknown as Session,
    realLogger("error", () => {}),
  );
  const connect = () => {
    const peer = new TestPeer();
    transactions.connected(peer as unknown as Peer);
    return peer;
  };
  const submit = (name: string) => transactions.submit({ kind: "unlink", parent: 1, name } as Operation);
  return { session, transactions, connect, submit };
}

const namesOf = (sent: readonly Sent[]) => sent.map(({ sequence, operation }) => `${sequence}${operation.name}`);

test("numbers are in order, at most 1,024 unconfirmed; the confirmed prefix rides along", async () => {
  const { connect, submit, transactions } = make();
  const peer = connect();
  const all = Array.from({ length: 1500 }, (_, index) => submit(`n${index}`));
  assert.equal(peer.sent.length, 1024);
  peer.sent[1]!.answer();
  await settle();
  assert.equal(peer.sent.length, 1024, "the first one holds up the window");
  peer.sent[0]!.answer();
  await settle();
  assert.equal(peer.sent.length, 1026);
  assert.equal(peer.sent[1025]!.confirmed, 2);
  for (let index = 0; index < 1500; index++) {
    peer.sent[index]!.answer();
    if (index % 100 === 0) await settle();
  }
  await Promise.all(all);
  assert.deepEqual(
    peer.sent.map(({ sequence }) => sequence),
    Array.from({ length: 1500 }, (_, index) => index + 1),
  );
  assert.equal(transactions.unanswered, 0);
});

test("after a reconnect exactly what is unanswered is sent again, in order, before anything new", async () => {
  const { connect, submit } = make();
  const first = connect();
  const all = ["a", "b", "c", "d"].map(submit);
  first.sent[1]!.answer();
  await settle();
  first.break();
  await settle();
  all.push(submit("e"));
  const second = connect();
  assert.deepEqual(namesOf(second.sent), ["1a", "3c", "4d", "5e"]);
  for (const one of second.sent) one.answer();
  await Promise.all(all);
  await settle();
  assert.equal(second.sent[3]!.confirmed, 0);
});

test("a refused number is used again by the next ones, also when the connection breaks in between", async () => {
  const { connect, submit } = make();
  const first = connect();
  const [a, b, c, d] = ["a", "b", "c", "d"].map(submit);
  first.sent[0]!.answer();
  first.sent[1]!.fail(new BrineError("noSpace", "full"));
  first.sent[2]!.fail(new BrineError("invalid", "a gap"));
  await settle();
  assert.equal(first.sent.length, 4, "nothing is sent until all is answered");
  const refused = assert.rejects(b!, { code: "ENOSPC" });
  first.break();
  const second = connect();
  await refused;
  assert.deepEqual(namesOf(second.sent), ["2c", "3d"]);
  for (const one of second.sent) one.answer();
  await Promise.all([a, c, d]);
  void submit("e");
  assert.equal(second.sent.at(-1)!.sequence, 4);
  assert.equal(second.sent.at(-1)!.confirmed, 3);
});

test("a leader that executes behind a refused number ends the session", async () => {
  const { connect, submit, session } = make();
  const peer = connect();
  const all = ["a", "b"].map(submit);
  for (const one of all) one.catch(() => {});
  peer.sent[1]!.answer();
  peer.sent[0]!.fail(new BrineError("noSpace", "full"));
  await settle();
  assert.match(session.ended!, /refused/);
});

test("when the session ends, everything unanswered fails with EIO", async () => {
  const { connect, submit, transactions, session } = make();
  connect();
  const all = ["a", "b"].map(submit);
  session.ended = "expired";
  transactions.lost("expired");
  for (const one of all) await assert.rejects(one, { code: "EIO" });
  await assert.rejects(submit("c"), { code: "EIO" });
});
