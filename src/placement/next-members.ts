/**
 * What becomes of a group's members when a store fails, returns or has caught up.
 *
 *                 failed                    returned
 *      inSync ───────────────► behind ───────────────────► catchingUp
 *        ▲                        ▲          failed            │  │ ▲
 *        │                        └────────────────────────────┘  └─┘ returned: a new generation
 *        └──────────────────────── caughtUp ───────────────────┘
 *
 * The last member in sync stays in sync whatever happens to it: only it has every acknowledged write. While it is away
 * the group waits for it.
 */
import type { GroupMember, MemberState } from "../namespace/model.ts";

/** `failed`: must not be waited for. `returned`: serves again. `caughtUp`: has what an in-sync member has. */
export type StoreEvent = "failed" | "returned" | "caughtUp";

/**
 * The members after an event of one of them, for a changeGroup transaction; undefined if nothing is to be changed.
 *
 * A member that returns while it is catching up gets the same state again: it may have missed writes since it began, and
 * only the new generation makes their writers send them again.
 */
export function nextMembers(
  members: readonly GroupMember[],
  store: number,
  event: StoreEvent,
): GroupMember[] | undefined {
  const member = members.find((candidate) => candidate.store === store);
  if (member === undefined) return undefined;
  const state = nextState(members, member, event);
  return state && members.map((other) => (other === member ? { store, state } : other));
}

function nextState(members: readonly GroupMember[], member: GroupMember, event: StoreEvent): MemberState | undefined {
  switch (event) {
    case "failed":
      if (member.state === "behind" || isLastInSync(members, member)) return undefined;
      return "behind";
    case "returned":
      return member.state === "inSync" ? undefined : "catchingUp";
    case "caughtUp":
      return member.state === "catchingUp" ? "inSync" : undefined;
  }
}

/** True if no other member has every acknowledged write. */
export function isLastInSync(members: readonly GroupMember[], member: GroupMember): boolean {
  return member.state === "inSync" && !members.some((other) => other !== member && other.state === "inSync");
}
