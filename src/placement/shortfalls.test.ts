import { strict as assert } from "node:assert";
import { test } from "node:test";
import { type StorePlace, spreadMax, spreadOf } from "./failure-domains.ts";
import { shortfallOf } from "./shortfalls.ts";

function place(host: string, labels: Record<string, string> = {}): StorePlace {
  return { host, labels: Object.entries(labels).map(([key, value]) => ({ key, value })) };
}

const ssd = [{ key: "disk", value: "ssd" }];

test("too few stores, too few with the labels, too few failure domains", () => {
  const stores = [place("a", { disk: "ssd", rack: "r1" }), place("a", { rack: "r1" }), place("b")];
  const of = (replicas: number, labels = ssd.slice(0, 0), failureDomain = "host") =>
    shortfallOf({ replicas, labels, failureDomain }, stores);
  assert.equal(of(3), undefined, "on one machine or more: nobody has said what there is to be");
  assert.equal(of(4), "4 copies need as many stores, there are 3");
  assert.equal(of(1, ssd), undefined);
  assert.equal(of(2, ssd), "2 copies on disk=ssd need as many stores, there is 1");
  assert.equal(of(2, [], "rack"), undefined);
  assert.match(of(3, [], "rack")!, /3 copies are to be in as many different places by "rack", there are 2/);
});

test("domains count before machines, and stores without the label are one domain", () => {
  const [one, other, far, bare] = [
    place("a", { rack: "r1" }),
    place("b", { rack: "r1" }),
    place("a", { rack: "r2" }),
    place("c"),
  ] as const;
  assert.ok(spreadOf([one, far], "rack") > spreadOf([one, other], "rack"));
  assert.ok(spreadOf([one, other], "rack") > spreadOf([one, one], "rack"));
  assert.ok(spreadOf([bare, one], "rack") > spreadOf([bare, place("d")], "rack"));
  assert.equal(spreadMax([one, other, far, bare], "rack", 2), spreadOf([far, other], "rack"));
});
