/**
 * Which members a group should have, given what is known of its stores: pure decisions, each the next step from the
 * group as committed. So a leader that dies anywhere in between is followed by one that goes on from there.
 *
 *                    dead, and another in-sync member lives
 *        inSync ───────────────────────────────────────────► behind
 *           ▲                                                  │  ▲
 *           │ has caught up (in this generation)        online │  │ dead, or missed a write
 *           └───────────────────── catchingUp ◄────────────────┘  │
 *                                       └─────────────────────────┘
 *
 * The last member in sync stays so whatever happens to it: only it has every acknowledged write, and the group waits for
 * it.
 */
import type { GroupMember, GroupRecord } from "../namespace/model.ts";

/** Silent: not heard of, but it may still be serving. Dead: it serves nothing, until it registers again. */
export type StoreCondition = "online" | "silent" | "dead";

export interface StoreFacts {
  readonly condition: (store: number) => StoreCondition;
  /** The store has said that it has caught up with the group in its present generation. */
  readonly hasCaughtUp: (store: number, group: GroupRecord) => boolean;
  /** A catching-up store failed to take a write: what it has is no base to go on from. */
  readonly hasMissedWrite: (store: number) => boolean;
  /** False for a while after a catch-up has failed. */
  readonly mayRejoin: (store: number) => boolean;
}

/** The group's next members, for a changeGroup transaction, or undefined if they are as they should be. */
export function nextMembers(group: GroupRecord, facts: StoreFacts): GroupMember[] | undefined {
  const inSync = group.members.filter((member) => member.state === "inSync");
  // If all in-sync members are dead, any of them may be the first to come back, and each has everything.
  const canLoseMembers = inSync.some((member) => facts.condition(member.store) !== "dead");
  const hasSource = inSync.some((member) => facts.condition(member.store) === "online");
  let changed = false;
  const members = group.members.map((member) => {
    const state = nextState(member, group, facts, { canLoseMembers, hasSource });
    changed ||= state !== member.state;
    return { store: member.store, state };
  });
  return changed ? members : undefined;
}

function nextState(
  { store, state }: GroupMember,
  group: GroupRecord,
  facts: StoreFacts,
  { canLoseMembers, hasSource }: { canLoseMembers: boolean; hasSource: boolean },
): GroupMember["state"] {
  const condition = facts.condition(store);
  if (state === "inSync") return condition === "dead" && canLoseMembers ? "behind" : "inSync";
  if (state === "catchingUp") {
    if (condition === "dead" || facts.hasMissedWrite(store)) return "behind";
    return facts.hasCaughtUp(store, group) ? "inSync" : "catchingUp";
  }
  const canRejoin = condition === "online" && hasSource && facts.mayRejoin(store) && !facts.hasMissedWrite(store);
  return canRejoin ? "catchingUp" : "behind";
}
