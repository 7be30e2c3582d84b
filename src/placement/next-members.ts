/**
 * Which members a group should have, given what is known of its stores: pure decisions, each the next step from the
 * group as committed. So a leader that dies anywhere in between is followed by one that goes on from there.
 *
 *          dead (or has lost data), and another in-sync member lives (is whole)
 *        inSync ───────────────────────────────────────────► behind
 *           ▲                                                  │  ▲
 *           │ has caught up (in this generation)        online │  │ dead, or missed a write
 *           └───────────────────── catchingUp ◄────────────────┘  │
 *                                       └─────────────────────────┘
 *
 * The last member in sync stays so whatever happens to it: only it has every acknowledged write, and the group waits for
 * it. If it is gone for good and an operator has accepted that, nobody is in sync, and the one that is catching up is its heir
 * (heir.ts): it stays that, whatever happens to it, until it has made its copy the group's.
 */
import type { GroupMember, GroupRecord } from "../namespace/model.ts";
import { isOrphaned } from "./heir.ts";

/**
 * What a store says of acknowledged data that it had. `possible`: another member that is online and whole can tell.
 * `certain`: any other member that is in sync has more.
 */
export type StoreLoss = "none" | "possible" | "certain";

/** Silent: not heard of, but it may still be serving. Dead: it serves nothing, until it registers again. */
export type StoreCondition = "online" | "silent" | "dead";

export interface StoreFacts {
  readonly condition: (store: number) => StoreCondition;
  /** The store has said that it has caught up with the group in its present generation. */
  readonly hasCaughtUp: (store: number, group: GroupRecord) => boolean;
  /** A catching-up store failed to take a write: what it has is no base to go on from. */
  readonly hasMissedWrite: (store: number) => boolean;
  readonly loss: (store: number, group: GroupRecord) => StoreLoss;
  /** False for a while after a catch-up has failed. */
  readonly mayRejoin: (store: number) => boolean;
}

/** The group's next members, for a changeGroup transaction, or undefined if they are as they should be. */
export function nextMembers(group: GroupRecord, facts: StoreFacts): GroupMember[] | undefined {
  const inSync = group.members.filter((member) => member.state === "inSync");
  const isComplete = ({ store }: GroupMember) => facts.loss(store, group) !== "certain";
  const isOnline = ({ store }: GroupMember) => facts.condition(store) === "online";
  const known: InSyncFacts = {
    // If all in-sync members are dead, any of them may be the first to come back, and each has everything.
    canLoseMembers: inSync.some((member) => facts.condition(member.store) !== "dead" && isComplete(member)),
    hasSource: inSync.some((member) => isOnline(member) && isComplete(member)),
    complete: inSync.filter(isComplete).map(({ store }) => store),
    whole: inSync
      .filter((member) => isOnline(member) && facts.loss(member.store, group) === "none")
      .map(({ store }) => store),
  };
  let changed = false;
  const members = group.members.map((member) => {
    const state = nextState(member, group, facts, known);
    changed ||= state !== member.state;
    return { store: member.store, state };
  });
  return changed ? members : undefined;
}

/** What all members' decisions depend on. */
interface InSyncFacts {
  readonly canLoseMembers: boolean;
  readonly hasSource: boolean;
  /** Members in sync that have not surely lost anything. */
  readonly complete: readonly number[];
  /** Those that have surely lost nothing, and can be asked. */
  readonly whole: readonly number[];
}

function nextState(
  { store, state }: GroupMember,
  group: GroupRecord,
  facts: StoreFacts,
  { canLoseMembers, hasSource, complete, whole }: InSyncFacts,
): GroupMember["state"] {
  const condition = facts.condition(store);
  if (state === "inSync") {
    const loss = facts.loss(store, group);
    const others = loss === "certain" ? complete : loss === "possible" ? whole : [];
    const mustCompare = others.some((other) => other !== store);
    return mustCompare || (condition === "dead" && canLoseMembers) ? "behind" : "inSync";
  }
  if (state === "catchingUp") {
    if (isOrphaned(group)) return facts.hasCaughtUp(store, group) ? "inSync" : "catchingUp";
    if (condition === "dead" || facts.hasMissedWrite(store)) return "behind";
    return facts.hasCaughtUp(store, group) ? "inSync" : "catchingUp";
  }
  const canRejoin = condition === "online" && hasSource && facts.mayRejoin(store) && !facts.hasMissedWrite(store);
  return canRejoin ? "catchingUp" : "behind";
}
