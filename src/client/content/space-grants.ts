/**
 * Space that the leader keeps free for this client at the members of each group, so that data which was acknowledged never
 * meets a full disk.
 *
 * 1. A write takes what its blocks need of the grant of their group; without it, it goes to the stores before it returns.
 * 2. More is asked for before the present grant is used up, twice as much each time. One question at a time carries what
 *    all groups want, what was used (it is on disk and counted there), and what goes back.
 * 3. A group that was given nothing is full, or nearly: it is asked again only for a write that needs it, and not more
 *    often than once a second. One that can't be given a first grant's worth is left to the chunks that it has: new ones
 *    are of other groups for a while (client/ids.ts).
 * 4. What nobody uses goes back after a while, and everything that is not taken when the leader asks for it.
 */
import type { Clock, Timer } from "../../platform/clock.ts";
import type { Logger } from "../../platform/logger.ts";
import { grantSpace } from "../../wire/catalogue/leader.ts";
import type { Session } from "../session.ts";

const grantBytesFirst = 8 * 1024 * 1024;
const grantBytesMax = 64 * 1024 * 1024;
/** After a refusal, of the leader or of a store. */
const deniedMs = 1_000;
/** After an answer that shows that little is left in the group. */
const scarceMs = 10_000;
/** After a recall of space nothing is asked for ahead. */
const modestMs = 5_000;
/** Grants that were not touched for so long go back. */
const idleMs = 30_000;

/** What is known of the room in a group: enough for something new, little, or so little that a store has refused a write. */
export type Room = "ample" | "scarce" | "none";

interface Grant {
  availableBytes: number;
  /** Taken, and not on disk yet. */
  takenBytes: number;
  usedBytes: number;
  returnedBytes: number;
  wantedBytes: number;
  /** What is asked for the next time. */
  nextBytes: number;
  deniedUntilMs: number;
  scarceUntilMs: number;
  isTouched: boolean;
}

export class SpaceGrants {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #session: Session;
  readonly #writableOf: (group: number) => readonly number[];
  readonly #grants = new Map<number, Grant>();
  /** Stores that have refused a write lately. */
  readonly #fullUntilMs = new Map<number, number>();
  #asking: Promise<void> | undefined;
  #modestUntilMs = 0;
  #timer: Timer | undefined;
  #isLost = false;

  /** @param writableOf stores that writes to a group go to, as far as is known */
  constructor(clock: Clock, log: Logger, session: Session, writableOf: (group: number) => readonly number[]) {
    this.#clock = clock;
    this.#log = log;
    this.#session = session;
    this.#writableOf = writableOf;
  }

  /** Takes bytes of the group's grant. False if it has not as many. */
  take(group: number, bytes: number): boolean {
    const grant = this.#grant(group);
    grant.isTouched = true;
    if (grant.availableBytes < bytes) return false;
    grant.availableBytes -= bytes;
    grant.takenBytes += bytes;
    if (grant.availableBytes < grant.nextBytes / 4 && this.#mayAskAhead(grant)) this.#want(grant, grant.nextBytes);
    return true;
  }

  /** Takes bytes, after asking the leader for them. False if it has none for us. */
  async obtain(group: number, bytes: number): Promise<boolean> {
    const grant = this.#grant(group);
    while (!this.take(group, bytes)) {
      if (this.#isLost || this.#clock.nowMs() < grant.deniedUntilMs) return false;
      this.#want(grant, Math.max(bytes, grant.nextBytes));
      await this.#asking;
    }
    return true;
  }

  /** Taken bytes that were not written. */
  giveBack(group: number, bytes: number): void {
    const grant = this.#grant(group);
    grant.availableBytes += bytes;
    grant.takenBytes -= bytes;
  }

  /** Taken bytes that are on disk. */
  used(group: number, bytes: number): void {
    const grant = this.#grant(group);
    grant.usedBytes += bytes;
    grant.takenBytes -= bytes;
  }

  /** The store has refused a write. */
  refusedBy(store: number): void {
    this.#fullUntilMs.set(store, this.#clock.nowMs() + deniedMs);
  }

  roomIn(group: number): Room {
    if (this.#fullUntilMs.size > 0 && this.#writableOf(group).some((store) => this.#isFull(store))) return "none";
    const { scarceUntilMs = 0 } = this.#grants.get(group) ?? {};
    return scarceUntilMs > 0 && this.#clock.nowMs() < scarceUntilMs ? "scarce" : "ample";
  }

  #isFull(store: number): boolean {
    const untilMs = this.#fullUntilMs.get(store);
    if (untilMs === undefined) return false;
    if (this.#clock.nowMs() < untilMs) return true;
    this.#fullUntilMs.delete(store);
    return false;
  }

  /** The leader wants back what isn't taken. */
  recall(): void {
    this.#modestUntilMs = this.#clock.nowMs() + modestMs;
    for (const grant of this.#grants.values()) this.#return(grant);
    this.#ask();
  }

  /** The session has ended. */
  lost(): void {
    this.#isLost = true;
    this.#timer?.cancel();
  }

  #grant(group: number): Grant {
    let grant = this.#grants.get(group);
    if (grant === undefined) {
      grant = {
        availableBytes: 0,
        takenBytes: 0,
        usedBytes: 0,
        returnedBytes: 0,
        wantedBytes: 0,
        nextBytes: grantBytesFirst,
        deniedUntilMs: 0,
        scarceUntilMs: 0,
        isTouched: true,
      };
      this.#grants.set(group, grant);
      this.#arm();
    }
    return grant;
  }

  #mayAskAhead(grant: Grant): boolean {
    const nowMs = this.#clock.nowMs();
    return grant.wantedBytes === 0 && nowMs >= grant.deniedUntilMs && nowMs >= this.#modestUntilMs;
  }

  #want(grant: Grant, bytes: number): void {
    grant.wantedBytes = Math.max(grant.wantedBytes, bytes);
    this.#ask();
  }

  #return(grant: Grant): void {
    grant.returnedBytes += grant.availableBytes;
    grant.availableBytes = 0;
    grant.nextBytes = grantBytesFirst;
  }

  #ask(): void {
    if (this.#isLost) return;
    this.#asking ??= this.#askAll().finally(() => {
      this.#asking = undefined;
    });
  }

  /** Never rejects. */
  async #askAll(): Promise<void> {
    // What is wanted in the same turn shares the question.
    await undefined;
    while (!this.#isLost) {
      const asked = [...this.#grants].filter(([, grant]) => grant.wantedBytes > 0 || grant.returnedBytes > 0);
      if (asked.length === 0) return;
      const listOf = (pick: (grant: Grant) => number, of: Iterable<[number, Grant]>) =>
        [...of].map(([group, grant]) => ({ group, bytes: pick(grant) })).filter(({ bytes }) => bytes > 0);
      const request = {
        session: this.#session.id,
        used: listOf((grant) => grant.usedBytes, this.#grants),
        returned: listOf((grant) => grant.returnedBytes, asked),
        wanted: listOf((grant) => grant.wantedBytes, asked),
      };
      const wanted = new Map(asked.map(([group, grant]) => [group, grant.wantedBytes]));
      for (const grant of this.#grants.values()) {
        grant.usedBytes = 0;
        grant.returnedBytes = 0;
      }
      try {
        const { granted } = await this.#session.request(grantSpace, request);
        this.#granted(wanted, new Map(granted.map(({ group, bytes }) => [group, bytes])));
      } catch (error) {
        if (!this.#session.ended) this.#log.warn("no space granted", { reason: String(error) });
        this.#granted(wanted, undefined);
      }
    }
  }

  /** `granted` is undefined if there was no answer. */
  #granted(wanted: ReadonlyMap<number, number>, granted: ReadonlyMap<number, number> | undefined): void {
    for (const [group, wantedBytes] of wanted) {
      if (wantedBytes === 0) continue;
      const grant = this.#grant(group);
      const bytes = granted?.get(group) ?? 0;
      grant.wantedBytes = 0;
      grant.availableBytes += bytes;
      const isShort = granted !== undefined && bytes < wantedBytes;
      const isScarce = isShort && grant.availableBytes + grant.takenBytes < grantBytesFirst;
      grant.scarceUntilMs = isScarce ? this.#clock.nowMs() + scarceMs : 0;
      if (bytes === 0) {
        grant.deniedUntilMs = this.#clock.nowMs() + deniedMs;
        grant.nextBytes = grantBytesFirst;
      } else grant.nextBytes = Math.min(grant.nextBytes * 2, grantBytesMax);
    }
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#isLost) return;
    this.#timer = this.#clock.startTimer(idleMs, () => {
      this.#timer = undefined;
      for (const grant of this.#grants.values()) {
        if (!grant.isTouched) this.#return(grant);
        grant.isTouched = false;
      }
      this.#ask();
      for (const [group, grant] of this.#grants) {
        const { availableBytes, takenBytes, usedBytes, returnedBytes, wantedBytes } = grant;
        const isIdle = availableBytes + takenBytes + usedBytes + returnedBytes + wantedBytes === 0;
        if (isIdle) this.#grants.delete(group);
      }
      if (this.#grants.size > 0) this.#arm();
    });
  }
}
