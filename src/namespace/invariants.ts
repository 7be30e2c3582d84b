/**
 * What must be true of every state of the namespace, checked from the rows alone: the simulation runs it at rest, tests
 * after each step. Reads the whole state into memory, so it is not for production.
 */
import { checkChunks } from "./invariants/chunks.ts";
import { checkPlacement } from "./invariants/placement.ts";
import { checkQuotas } from "./invariants/quotas.ts";
import { checkSessions } from "./invariants/sessions.ts";
import { readSnapshot } from "./invariants/snapshot.ts";
import { checkTree } from "./invariants/tree.ts";
import type { State } from "./state.ts";

/** Sentences about what is wrong; none if all is well. Not within a batch: counters are written at its end. */
export function checkInvariants(state: State): string[] {
  const snapshot = readSnapshot(state);
  const problems = [...snapshot.problems];
  const report = (problem: string): void => void problems.push(problem);
  for (const volume of snapshot.volumes.values()) checkTree(snapshot, volume, report);
  checkChunks(snapshot, report);
  checkSessions(snapshot, report);
  checkQuotas(snapshot, report);
  checkPlacement(snapshot, report);
  return problems;
}
