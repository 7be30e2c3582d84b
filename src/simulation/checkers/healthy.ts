/** A cluster is never called healthy while a group has fewer copies in sync than it should, or one that is behind. */
import type { ClusterStatus } from "../../wire/catalogue/admin.ts";
import { Violation } from "./violation.ts";

/** Throws Violation. */
export function checkHealthy({ groups, healing, problems }: ClusterStatus): void {
  if (healing !== undefined || problems.length > 0) return;
  for (const { group, replicas, members } of groups) {
    const inSync = members.filter(({ state }) => state === "inSync").length;
    if (inSync >= replicas && inSync === members.length) continue;
    const states = members.map(({ store, state }) => `store ${store} ${state}`).join(", ");
    throw new Violation(
      "healthy is said only when all copies are there",
      `group ${group} has ${states} of ${replicas}`,
    );
  }
}
