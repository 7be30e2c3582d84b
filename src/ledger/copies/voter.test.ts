/** What a voter refuses to record, and what it must not. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { hasCode } from "../../errors/brine-error.ts";
import { MemoryDisk } from "../../store/testing/memory-disk.ts";
import type { Configuration } from "../../wire/catalogue/ledger.ts";
import { testPlatform } from "../../wire/testing/memory-network.ts";
import { Voter } from "./voter.ts";

const [leader, copy, witness] = [
  { serverId: "first", address: "a:1" },
  { serverId: "second", address: "b:1" },
  { serverId: "third", address: "c:1" },
];
const inStep: Configuration = {
  ...{ term: 2, sequence: 5, copies: [leader, copy], inStep: [leader.serverId, copy.serverId] },
  ...{ witness, rule: "preferred" as const },
};
const alone: Configuration = { ...inStep, sequence: 6, inStep: [leader.serverId] };
const forgotten: Configuration = { ...alone, sequence: 7, copies: [leader], witness: undefined };

async function newVoter(): Promise<Voter> {
  return Voter.open({ ...testPlatform(), disk: new MemoryDisk() }, { path: "/ballot", serverId: witness.serverId });
}

test("a server becomes the witness only while both copies are in step", async () => {
  const voter = await newVoter();
  await assert.rejects(voter.record(leader.serverId, alone), (error) => hasCode(error, "refused"));
  await voter.record(leader.serverId, inStep);
  await voter.record(leader.serverId, alone);
  assert.deepEqual(voter.ballot.configuration, alone);
});

test("a leader that had no answer when the witness recorded that the copy is forgotten has its leave all the same", async () => {
  const voter = await newVoter();
  for (const configuration of [inStep, alone, forgotten]) await voter.record(leader.serverId, configuration);
  // What it says when it connects again.
  await voter.record(leader.serverId, alone);
  assert.deepEqual(voter.ballot.configuration, forgotten, "what is later holds");
  assert.ok(voter.renew(inStep.term, leader.serverId).serveMs > 0);
});
