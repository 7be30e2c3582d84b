/** The rules of who may lead, against a model: whatever is lost or cut, a new leader has every acknowledged entry. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Configuration } from "../../wire/catalogue/ledger.ts";
import { type Ballot, isMajority, judge, later, nextTerm, obeys, recorded, vote } from "./ballot.ts";

const members = ["first", "second", "witness"] as const;
const [first, second, witness] = members.map((serverId) => ({ serverId, address: serverId }));
const atFirst: Configuration = {
  term: 2,
  sequence: 1,
  copies: [first!, second!],
  inStep: ["first", "second"],
  witness: witness!,
  rule: "preferred",
};

/** Three servers; steps are whole, messages arrive or don't. */
class Model {
  readonly ballots = new Map<string, Ballot>(
    members.map((id) => [id, { term: 2, leader: "first", configuration: atFirst }]),
  );
  readonly logs = new Map<string, string[]>([
    ["first", []],
    ["second", []],
  ]);
  readonly acknowledged: string[] = [];
  readonly leaders = new Map<number, string>([[2, "first"]]);
  /** Who believes that it leads, and with which configuration. */
  readonly leading = new Map<string, Configuration>([["first", atFirst]]);

  append(id: string, reached: ReadonlySet<string>): void {
    const configuration = this.leading.get(id);
    if (configuration === undefined) return;
    const entry = `${configuration.term}/${this.logs.get(id)!.length}`;
    const log = [...this.logs.get(id)!, entry];
    this.logs.set(id, log);
    const other = id === "first" ? "second" : "first";
    if (configuration.inStep.includes(other)) {
      if (!reached.has(other) || !obeys(this.ballots.get(other)!, configuration.term, id)) return;
      this.logs.set(other, log);
    }
    this.acknowledged.push(entry);
  }

  /** Goes alone, or takes the other one in again; or dies when the others know, and it hasn't written it down. */
  change(id: string, inStep: string[], reached: ReadonlySet<string>, dies = false): void {
    const before = this.leading.get(id);
    if (before === undefined || before.copies.length < 2) return;
    const configuration = { ...before, sequence: before.sequence + 1, inStep };
    const other = id === "first" ? "second" : "first";
    // As the leader does it: the copy has everything before anyone says so, and the own ballot comes last.
    const have = new Set([id]);
    for (const voter of [other, "witness"]) {
      const ballot = reached.has(voter) ? recorded(this.ballots.get(voter)!, id, configuration) : undefined;
      if (voter === other && inStep.includes(other)) {
        if (ballot === undefined) return;
        this.logs.set(other, [...this.logs.get(id)!]);
      }
      if (ballot === undefined) continue;
      this.ballots.set(voter, ballot);
      have.add(voter);
    }
    if (dies) {
      this.leading.delete(id);
      return;
    }
    const own = recorded(this.ballots.get(id)!, id, configuration);
    if (!isMajority(configuration, have) || own === undefined) return;
    this.ballots.set(id, own);
    this.leading.set(id, configuration);
  }

  /** As forgetCopy does it (membership.ts): the witness first; the copy isn't reached. */
  forget(id: string, reached: ReadonlySet<string>, dies: boolean): void {
    const before = this.leading.get(id);
    const other = id === "first" ? "second" : "first";
    if (before === undefined || before.copies.length < 2 || reached.has(other) || !reached.has("witness")) return;
    const copies = before.copies.filter(({ serverId }) => serverId === id);
    const next = { ...before, sequence: before.sequence + 1, copies, inStep: [id], witness: undefined };
    const atWitness = recorded(this.ballots.get("witness")!, id, next);
    if (atWitness === undefined) return;
    this.ballots.set("witness", atWitness);
    if (dies) {
      this.leading.delete(id);
      return;
    }
    const own = recorded(this.ballots.get(id)!, id, next);
    if (own === undefined) return;
    this.ballots.set(id, own);
    this.leading.set(id, next);
  }

  /** Nobody does who leads: it has been started again, or is the copy (MetadataRole). */
  stand(id: string, reached: ReadonlySet<string>): void {
    this.leading.delete(id);
    const voters = members.filter((voter) => voter === id || reached.has(voter));
    const known = voters.reduce((best, voter) => later(best, this.ballots.get(voter)!.configuration)!, atFirst);
    if (!known.copies.some(({ serverId }) => serverId === id)) return;
    const term = nextTerm(known, id, Math.max(...voters.map((voter) => this.ballots.get(voter)!.term)));
    const promised = new Set<string>();
    for (const voter of voters) {
      const outcome = vote(this.ballots.get(voter)!, { term, leader: id }, false);
      if (!outcome.promised) continue;
      this.ballots.set(voter, outcome.ballot);
      promised.add(voter);
    }
    const how = { promotion: true, oldLeaderIsOff: false, acceptLoss: false };
    if (judge({ serverId: id, configuration: known, promised, ...how }) !== "leads") return;
    assert.ok(!this.leaders.has(term), `two leaders of term ${term}`);
    this.leaders.set(term, id);
    const log = this.logs.get(id)!;
    for (const entry of this.acknowledged) assert.ok(log.includes(entry), `${id} leads without ${entry}`);
    this.leading.set(id, { ...known, term, sequence: 0, inStep: [id] });
    this.change(id, [id], promised);
    if (known.copies.length > 1) {
      // Without a majority that knows that it is alone, it acknowledges nothing.
      if (this.leading.get(id)!.sequence === 0) this.leading.delete(id);
      return;
    }
    const alone = { ...known, term, sequence: 1, inStep: [id] };
    this.ballots.set(id, recorded(this.ballots.get(id)!, id, alone)!);
    this.leading.set(id, alone);
  }
}

const someone = fc.subarray([...members]).map((ids) => new Set<string>(ids));
const copy = fc.constantFrom("first", "second");

test("a leader has every acknowledged entry, and a term has one leader", () => {
  const kinds = fc.constantFrom(
    "append",
    "alone",
    "both",
    "stand",
    "crash",
    "dies alone",
    "dies with both",
    "forget",
    "dies forgetting",
  );
  const step = fc.tuple(kinds, copy, someone);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40, size: "max" }), (steps) => {
      const model = new Model();
      for (const [kind, id, reached] of steps) {
        if (kind === "append") model.append(id, reached);
        else if (kind === "stand") model.stand(id, reached);
        else if (kind.endsWith("forget") || kind.endsWith("forgetting"))
          model.forget(id, reached, kind.startsWith("dies"));
        else if (kind === "crash") model.leading.delete(id);
        else {
          const inStep = kind.endsWith("alone") ? [id] : [id, id === "first" ? "second" : "first"];
          model.change(id, inStep, reached, kind.startsWith("dies"));
        }
      }
    }),
    { numRuns: 3_000 },
  );
});

test("nobody is promised anything while the leader may serve, except the leader itself", () => {
  const ballot = { term: 2, leader: "first", configuration: atFirst };
  assert.deepEqual(vote(ballot, { term: 3, leader: "second" }, true), { promised: false, reason: "serving" });
  assert.equal(vote(ballot, { term: 4, leader: "first" }, true).promised, true);
  assert.deepEqual(vote(ballot, { term: 2, leader: "second" }, false), { promised: false, reason: "term" });
});
