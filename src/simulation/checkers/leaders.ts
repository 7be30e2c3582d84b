/** The ledger's copies: never do two servers believe at one time that they may answer as the leader; at rest both have the same. */
import type { MemoryDatabase } from "../../platform/memory-key-value.ts";
import type { SimulatedServer } from "../simulated-server.ts";
import { Violation } from "./violation.ts";

/** Throws Violation. Of those that are paused, too: what they believe they act upon when they go on. */
export function checkOneLeader(servers: readonly SimulatedServer[]): void {
  const leading = servers.filter(({ metadata }) => metadata?.serving === true);
  if (leading.length < 2) return;
  const names = leading.map(({ plan, metadata }) => `${plan.name} (term ${metadata!.term})`);
  throw new Violation("one server leads at a time", names.join(" and "));
}

/** Throws Violation. All servers have stopped, with their copies in step. */
export function checkCopiesEqual(databases: readonly MemoryDatabase[]): void {
  const [first, ...others] = databases.map((database) => database.snapshot());
  for (const other of others) {
    const keys = new Set([...first!.keys(), ...other.keys()]);
    const differing = [...keys].filter((key) => !same(first!.get(key), other.get(key)));
    if (differing.length === 0) continue;
    const key = Buffer.from(differing[0]!, "latin1").toString("hex");
    throw new Violation("the ledger's copies have the same state", `${differing.length} rows differ, as ${key}`);
  }
}

function same(one: Uint8Array | undefined, other: Uint8Array | undefined): boolean {
  return one !== undefined && other !== undefined && Buffer.compare(one, other) === 0;
}
