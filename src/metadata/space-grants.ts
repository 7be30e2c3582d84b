/**
 * Space that clients may fill without asking: so that a write that was acknowledged from memory finds room on the stores.
 *
 * Of each store the leader knows what it said last to be free. From that go
 *
 * - grants of all sessions for groups in which the store is a member: each copy of a block takes room there;
 * - what was written under grants since, until the store has surely said so itself: its next report but one.
 *
 * What is left, above a reserve, is there to be granted: never more than an eighth of it to one session for one group, so
 * that grants get smaller as space falls, down to nothing. Then clients write through, and learn of ENOSPC before they
 * answer. Stores refuse what they can't take, whatever was granted here.
 *
 * When little is left that isn't granted, grants are recalled. A session's grants return when its end is committed. A
 * leader that has just started doesn't know of earlier ones: it has them given back.
 */
import type { StoreRoom } from "./group-turns.ts";
import type { Leader } from "./leader.ts";
import type { Recalls } from "./recalls.ts";
import type { Stores } from "./stores.ts";

/** What a client at 1 GB/s writes in 60 ms: enough that asking costs it nothing. */
const grantBytesMax = 64 * 1024 * 1024;
/** Of what is free a session gets so much for a group. */
const fractionOfFree = 1 / 8;
/** Not granted: what clients without a grant have under way, and what the stores' logs take on top of the data. */
const reserveBytesMax = 64 * 1024 * 1024;
const reserveFraction = 1 / 16;
/** Grants are recalled from a store with less than this left. */
const lowBytes = 2 * reserveBytesMax;
const lowFraction = 2 * reserveFraction;
/** Between recalls for one store: clients that have given back ask again, and get less. */
const recallAgainMs = 2_000;

export interface GroupBytes {
  readonly group: number;
  readonly bytes: number;
}

/** Of a store. */
interface Written {
  /** Since its last report, and between that and the one before. */
  sinceReport: number;
  beforeReport: number;
}

/** As of now: stores to which each group's writes go, and what is granted on each store. */
interface Layout {
  readonly members: ReadonlyMap<number, readonly number[]>;
  readonly granted: Map<number, number>;
}

export interface SpaceGrantsParts {
  readonly leader: Leader;
  readonly stores: Stores;
  readonly recalls: Recalls;
}

export class SpaceGrants {
  readonly #parts: SpaceGrantsParts;
  /** Bytes by group, of each session that has any, and of all. */
  readonly #granted = new Map<number, Map<number, number>>();
  readonly #totals = new Map<number, number>();
  readonly #written = new Map<number, Written>();
  readonly #recalledMs = new Map<number, number>();

  constructor(parts: SpaceGrantsParts) {
    this.#parts = parts;
  }

  /** What the session gets; groups that get nothing are left out. */
  exchange(
    session: number,
    request: { used: readonly GroupBytes[]; returned: readonly GroupBytes[]; wanted: readonly GroupBytes[] },
  ): { granted: GroupBytes[] } {
    for (const { group, bytes } of request.used) this.#change(session, group, -bytes);
    for (const { group, bytes } of request.returned) this.#change(session, group, -bytes);
    const layout = this.#layout();
    for (const { group, bytes } of request.used) {
      for (const store of layout.members.get(group) ?? []) this.#writtenOn(store).sinceReport += bytes;
    }
    const granted: GroupBytes[] = [];
    for (const { group, bytes } of request.wanted) {
      const given = Math.min(bytes, this.#room(session, group, layout));
      if (given <= 0) continue;
      this.#change(session, group, given);
      for (const store of layout.members.get(group)!) {
        layout.granted.set(store, (layout.granted.get(store) ?? 0) + given);
      }
      granted.push({ group, bytes: given });
    }
    return { granted };
  }

  /** A store has said how much is free. */
  reported(store: number): void {
    const written = this.#writtenOn(store);
    written.beforeReport = written.sinceReport;
    written.sinceReport = 0;
    if (this.#totals.size === 0) return;
    const { members, granted } = this.#layout();
    const bytes = granted.get(store) ?? 0;
    const { totalBytes = 0 } = this.#parts.stores.get(store) ?? {};
    if (bytes === 0 || this.#left(store, bytes) >= lowBytesOf(totalBytes)) return;
    const nowMs = this.#parts.leader.lifetime.nowMs();
    if (nowMs - (this.#recalledMs.get(store) ?? Number.NEGATIVE_INFINITY) < recallAgainMs) return;
    this.#recalledMs.set(store, nowMs);
    for (const [session, groups] of this.#granted) {
      const isOnStore = [...groups.keys()].some((group) => members.get(group)?.includes(store));
      if (isOnStore) this.#parts.recalls.space(session);
    }
  }

  /** The session was opened at an earlier leader: what it was granted there is not known here. */
  forgotten(session: number): void {
    this.#parts.recalls.space(session);
  }

  /** The session has ended. */
  drop(session: number): void {
    for (const [group, bytes] of this.#granted.get(session) ?? []) this.#change(session, group, -bytes);
  }

  /** Bytes granted to the session for the group and not used, as far as is known. */
  of(session: number, group: number): number {
    return this.#granted.get(session)?.get(group) ?? 0;
  }

  /** Nothing where it isn't known. */
  roomOn(stores: ReadonlySet<number>): Map<number, StoreRoom> {
    const { granted } = this.#layout();
    return new Map(
      [...stores].map((store) => {
        const { isSeen = false, freeBytes = 0, totalBytes = 0 } = this.#parts.stores.get(store) ?? {};
        const ampleBytes = this.#left(store, granted.get(store) ?? 0) - lowBytesOf(totalBytes);
        return [store, { ampleBytes: Math.max(0, ampleBytes), freeBytes: isSeen ? freeBytes : 0 }];
      }),
    );
  }

  #room(session: number, group: number, { members, granted }: Layout): number {
    const stores = members.get(group) ?? [];
    if (stores.length === 0) return 0;
    let left = Number.POSITIVE_INFINITY;
    for (const store of stores) left = Math.min(left, this.#left(store, granted.get(store) ?? 0));
    // What the session has counts towards its share.
    const has = this.of(session, group);
    const share = Math.min(grantBytesMax, (left + has) * fractionOfFree);
    return Math.min(left, Math.floor(share) - has);
  }

  /** What can still be granted on a store. */
  #left(store: number, granted: number): number {
    const state = this.#parts.stores.get(store);
    if (state === undefined || !state.isSeen) return 0;
    const { sinceReport, beforeReport } = this.#writtenOn(store);
    const reserve = Math.min(reserveBytesMax, state.totalBytes * reserveFraction);
    return state.freeBytes - sinceReport - beforeReport - granted - reserve;
  }

  #layout(): Layout {
    const members = new Map<number, number[]>();
    const granted = new Map<number, number>();
    for (const group of this.#parts.leader.namespace.groups()) {
      const stores = group.members.filter((member) => member.state !== "behind").map((member) => member.store);
      members.set(group.group, stores);
      const bytes = this.#totals.get(group.group) ?? 0;
      for (const store of stores) granted.set(store, (granted.get(store) ?? 0) + bytes);
    }
    return { members, granted };
  }

  /** The session has so much more, or less, as far as it had it. */
  #change(session: number, group: number, bytes: number): void {
    const has = this.of(session, group);
    const change = Math.max(bytes, -has);
    const groups = this.#granted.get(session) ?? new Map<number, number>();
    setOrDelete(groups, group, has + change);
    if (groups.size > 0) this.#granted.set(session, groups);
    else this.#granted.delete(session);
    setOrDelete(this.#totals, group, (this.#totals.get(group) ?? 0) + change);
  }

  #writtenOn(store: number): Written {
    let written = this.#written.get(store);
    if (written === undefined) {
      written = { sinceReport: 0, beforeReport: 0 };
      this.#written.set(store, written);
    }
    return written;
  }
}

function lowBytesOf(totalBytes: number): number {
  return Math.min(lowBytes, totalBytes * lowFraction);
}

function setOrDelete(map: Map<number, number>, key: number, value: number): void {
  if (value > 0) map.set(key, value);
  else map.delete(key);
}
