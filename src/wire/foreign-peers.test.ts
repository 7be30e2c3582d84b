import { strict as assert } from "node:assert";
import { test } from "node:test";
import { ForeignPeers } from "./foreign-peers.ts";

test("the last peer of each other cluster is named for a minute, of eight clusters; who only asks isn't", () => {
  let nowMs = 0;
  const foreign = new ForeignPeers({ nowMs: () => nowMs });
  const hello = { version: 1, peerId: "", wanted: [], demanded: [] };
  foreign.refused({ ...hello, clusterId: "a", role: "admin", description: "brine why" }, "10.0.0.9:4000");
  assert.deepEqual(foreign.problems, []);
  for (const description of ["store pid 1", "store pid 2"]) {
    foreign.refused({ ...hello, clusterId: "a", role: "store", description }, "10.0.0.2:4000");
  }
  const [problem, ...others] = foreign.problems;
  assert.match(problem!, /^A store \(store pid 2, from 10\.0\.0\.2\) of another cluster, a, looks for its leader here/);
  assert.deepEqual(others, []);
  nowMs = 60_001;
  assert.deepEqual(foreign.problems, []);
  for (let cluster = 0; cluster < 20; cluster++) {
    foreign.refused({ ...hello, clusterId: `${cluster}`, role: "client", description: "m" }, "10.0.0.2:4000");
  }
  assert.equal(foreign.problems.length, 8);
  assert.match(foreign.problems.at(-1)!, /^A mount .* another cluster, 19,/);
});
