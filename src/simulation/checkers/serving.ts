/**
 * Stores that have left a group: from the moment in which a generation without them is committed, they answer nobody in it. What
 * they had under way then, and what they could answer while they are cut off, others may have overwritten since.
 */
import type { GroupRecord } from "../../namespace/model.ts";
import type { SimulatedServer } from "../simulated-server.ts";
import { Violation } from "./violation.ts";

/** Throws Violation. @param groups as the leader has committed them */
export function checkServing(groups: readonly GroupRecord[], servers: readonly SimulatedServer[]): void {
  const committed = new Map(groups.map((group) => [group.group, group]));
  for (const { plan, answeredGroups } of servers) {
    if (answeredGroups === undefined) continue;
    const { store, views } = answeredGroups;
    for (const { group, generation } of views) {
      const now = committed.get(group);
      if (now === undefined || generation >= now.generation) continue;
      const state = now.members.find((member) => member.store === store)?.state;
      if (state === "inSync") continue;
      throw new Violation(
        "who has left a group serves it no more",
        `${plan.name} answers in group ${group} of generation ${generation}; in ${now.generation} it is ${state ?? "no member"}`,
      );
    }
  }
}
