/**
 * Grants of quota to clients: so that the call which goes over a limit is the one that fails, although clients answer from memory.
 *
 * The leader refuses nothing that a client has acknowledged. Instead a client takes what a change adds to usage from a grant
 * before it makes the change, and grants are only given of what is left of every limit:
 *
 *     left = limit − usage in the namespace − what clients have of it
 *
 * 1. What a client has is always said as a whole: what it may still use, and what it has used and doesn't know to be committed. Until
 *    it says so, that counts twice; so usage never exceeds a limit, and requests may be repeated and lost. What is on its way to
 *    a client, and it doesn't say that it has seen it, counts as well.
 * 2. A grant is for an account (owner, group, directory with a quota), and is taken of all limits that apply to it.
 * 3. Ahead of need an account gets an eighth of what is left, so grants shrink as a limit nears, down to just what is needed.
 * 4. If not even that is left, nobody gets EDQUOT before all clients of the volume were asked: they commit what they have done
 *    (what they removed counts no more then), say what they still have, and orphans that nobody uses are reaped. Meanwhile
 *    others get only what they need. One such round at a time in a volume; who comes while it goes on shares the next.
 *
 * All of it is in memory. Clients state what they have after a reconnect, and nothing is granted before all have (grace.ts).
 */
import { hasCode } from "../errors/brine-error.ts";
import { blockBytes, type QuotaKind } from "../namespace/model.ts";
import { type Account, type Amount, accountKey, type Dimension, dimensions } from "../namespace/usage.ts";
import { type HeldQuota, recallQuota } from "../wire/catalogue/quotas.ts";
import { type Answer, afterGrace } from "./grace.ts";
import type { Leader } from "./leader.ts";
import type { Reaper } from "./reaper.ts";
import type { Session, Sessions } from "./sessions.ts";

/** Of what is left an account gets so much ahead. */
const fractionAhead = 1 / 8;

const nothing: Amount = { bytes: 0, inodes: 0 };

/** What is left of all limits that apply; undefined: there is none. */
type Room = { readonly [K in Dimension]: number | undefined };

/** Of one account, to one session. */
interface Grant {
  readonly account: Account;
  /** What the client has said that it has. */
  held: Amount;
  /** The last grant, and its number: what the client may not have seen when it said so. */
  last: Amount;
  number: number;
  /** Counts requests: an older one that still waits is answered to nobody. */
  asked: number;
}

export interface GrantRequest {
  readonly held: HeldQuota;
  readonly needed: Amount;
  readonly ahead: Amount;
  readonly recall: boolean;
}

export interface GrantAnswer {
  readonly number: number;
  readonly version: number;
  readonly bytes: number | undefined;
  readonly inodes: number | undefined;
}

export interface QuotaGrantsParts {
  readonly leader: Leader;
  readonly sessions: Sessions;
  readonly reaper: Reaper;
}

/** Those of one volume. */
interface Round {
  running: Promise<void> | undefined;
  next: Promise<void> | undefined;
}

export class QuotaGrants {
  readonly #parts: QuotaGrantsParts;
  readonly #sessions = new Map<number, { readonly volume: number; readonly grants: Map<string, Grant> }>();
  /** What clients have, by volume, kind and id. */
  readonly #totals = new Map<string, { bytes: number; inodes: number }>();
  readonly #rounds = new Map<number, Round>();
  /** Who waits for answers of a session: its end is one. */
  readonly #recalling = new Map<number, () => void>();

  constructor(parts: QuotaGrantsParts) {
    this.#parts = parts;
  }

  /** Errors: closed, sessionExpired (the client asks again on its new connection, or never). */
  ask(session: Session, request: GrantRequest): Answer<GrantAnswer> {
    return afterGrace(this.#parts, session, () => {
      const grant = this.#grant(session, request.held.account);
      grant.asked += 1;
      // An answer that it has not seen is lost: it asks one at a time.
      this.#setHeld(session.volume, grant, request.held, true);
      const { needed, recall } = request;
      if (!recall || fits(needed, this.#room(session.volume, grant.account))) {
        return this.#give(session.volume, grant, request);
      }
      const { asked } = grant;
      return this.round(session.volume).then(() => {
        const isLatest =
          grant.asked === asked && this.#sessions.get(session.id)?.grants.get(accountKey(grant.account)) === grant;
        return this.#give(session.volume, grant, isLatest ? request : { needed: nothing, ahead: nothing });
      });
    });
  }

  /** After a reconnect: all that the client has, instead of what was known. */
  restate(session: Session, stated: readonly HeldQuota[]): void {
    const known = this.#sessions.get(session.id)?.grants ?? new Map<string, Grant>();
    const kept = new Set(stated.map(({ account }) => accountKey(account)));
    for (const [key, grant] of known) if (!kept.has(key)) this.#forget(session.volume, known, key, grant);
    for (const held of stated) this.#setHeld(session.volume, this.#grant(session, held.account), held, false);
  }

  /** The session's end is committed. */
  drop(session: number): void {
    this.#recalling.get(session)?.();
    const known = this.#sessions.get(session);
    if (known === undefined) return;
    for (const [key, grant] of known.grants) this.#forget(known.volume, known.grants, key, grant);
    this.#sessions.delete(session);
  }

  /** What clients have of a quota, beyond its usage. */
  granted(volume: number, kind: QuotaKind, id: number): Amount {
    return this.#totals.get(totalKey(volume, kind, id)) ?? nothing;
  }

  /**
   * All clients of the volume commit what they have done, and give back what they don't need. Resolves when they have, or have
   * ended. What begins while it goes on is part of the next. Who asks is one of them: it has grants of other accounts under
   * the same limits, of which it has told nothing since.
   */
  round(volume: number): Promise<void> {
    const round = this.#rounds.get(volume) ?? { running: undefined, next: undefined };
    this.#rounds.set(volume, round);
    if (round.running === undefined) return this.#begin(volume, round);
    round.next ??= round.running.then(() => this.#begin(volume, round));
    return round.next;
  }

  #begin(volume: number, round: Round): Promise<void> {
    round.next = undefined;
    const running = this.#recallAll(volume).finally(() => {
      if (round.running === running) round.running = undefined;
      if (round.running === undefined && round.next === undefined) this.#rounds.delete(volume);
    });
    round.running = running;
    return running;
  }

  async #recallAll(volume: number): Promise<void> {
    const { sessions, reaper } = this.#parts;
    const asked = sessions.all().filter((session) => session.volume === volume);
    await Promise.all(asked.map((session) => this.#recall(session)));
    try {
      await reaper.reapOrphans();
    } catch (error) {
      // Without it there may be less to give: it is tried again in the background.
      if (!hasCode(error, "noSpace", "busy", "notServing")) throw error;
    }
  }

  /** Until the client has answered or its session has ended: that has a bound of its own. */
  async #recall(session: Session): Promise<void> {
    const { leader, sessions } = this.#parts;
    const { lifetime, timeouts, waits } = leader;
    const wait = waits.begin("a client, to give back quota", () => ({ client: session.host, session: session.id }));
    const gone = Promise.withResolvers<boolean>();
    this.#recalling.set(session.id, () => gone.resolve(true));
    try {
      while (!lifetime.stopped && sessions.get(session.id) === session) {
        const { peer } = session;
        if (
          peer !== undefined &&
          session.isStated &&
          (await Promise.race([this.#recallOn(session, peer), gone.promise]))
        )
          return;
        await lifetime.sleep(timeouts.retryMs / 5);
      }
    } finally {
      this.#recalling.delete(session.id);
      wait.end();
    }
  }

  async #recallOn(session: Session, peer: NonNullable<Session["peer"]>): Promise<boolean> {
    const { leader, sessions } = this.#parts;
    const version = this.#version(session.volume);
    try {
      const { body } = await peer.request(recallQuota, { version }, { timeoutMs: leader.timeouts.sessionMs });
      if (session.peer !== peer || sessions.get(session.id) !== session) return false;
      const known = this.#sessions.get(session.id)?.grants;
      const said = new Map(body.held.map((held) => [accountKey(held.account), held]));
      for (const [key, grant] of known ?? []) {
        const none = { account: grant.account, seen: 0, amount: nothing };
        this.#setHeld(session.volume, grant, said.get(key) ?? none, false);
      }
      return true;
    } catch {
      // The connection has ended, or the client is slow: it is asked again for as long as its session stands.
      return false;
    }
  }

  #give(volume: number, grant: Grant, { needed, ahead }: Pick<GrantRequest, "needed" | "ahead">): GrantAnswer {
    const room = this.#room(volume, grant.account);
    const isScarce = this.#rounds.get(volume)?.running !== undefined;
    const part = (of: Dimension): number | undefined => {
      const left = room[of];
      if (left === undefined) return undefined;
      const first = Math.min(needed[of], Math.max(0, left));
      const more = isScarce ? 0 : Math.min(ahead[of], Math.floor((left - first) * fractionAhead));
      // Part of a block is of no use to anybody.
      return first + Math.max(0, of === "bytes" ? more - (more % blockBytes) : more);
    };
    const [bytes, inodes] = [part("bytes"), part("inodes")];
    const given = { bytes: bytes ?? 0, inodes: inodes ?? 0 };
    grant.number += 1;
    grant.last = given;
    this.#count(volume, grant.account, given, 1);
    return { number: grant.number, version: this.#version(volume), bytes, inodes };
  }

  #room(volume: number, account: Account): Room {
    const { namespace } = this.#parts.leader;
    const room: { bytes: number | undefined; inodes: number | undefined } = { bytes: undefined, inodes: undefined };
    for (const { kind, id } of subjectsOf(account)) {
      const quota = namespace.quota(volume, { kind, id });
      if (quota === undefined) continue;
      const granted = this.granted(volume, kind, id);
      for (const of of dimensions) {
        const limit = quota.limits[of];
        if (limit === undefined) continue;
        room[of] = Math.min(room[of] ?? Number.POSITIVE_INFINITY, limit - quota[of] - granted[of]);
      }
    }
    return room;
  }

  #version(volume: number): number {
    return this.#parts.leader.namespace.volume(volume)?.quotaVersion ?? 0;
  }

  // --- what clients have ---

  #grant(session: Session, account: Account): Grant {
    let known = this.#sessions.get(session.id);
    if (known === undefined) {
      known = { volume: session.volume, grants: new Map() };
      this.#sessions.set(session.id, known);
    }
    const key = accountKey(account);
    let grant = known.grants.get(key);
    if (grant === undefined) {
      grant = { account, held: nothing, last: nothing, number: 0, asked: 0 };
      known.grants.set(key, grant);
    }
    return grant;
  }

  /** @param isLost a grant that the client has not seen will never get there */
  #setHeld(volume: number, grant: Grant, { seen, amount }: HeldQuota, isLost: boolean): void {
    this.#count(volume, grant.account, sum(grant.held, grant.last), -1);
    if (isLost || seen >= grant.number) grant.last = nothing;
    // An earlier leader has given higher ones.
    grant.number = Math.max(grant.number, seen);
    grant.held = amount;
    this.#count(volume, grant.account, sum(grant.held, grant.last), 1);
  }

  #forget(volume: number, grants: Map<string, Grant>, key: string, grant: Grant): void {
    this.#count(volume, grant.account, sum(grant.held, grant.last), -1);
    grants.delete(key);
  }

  #count(volume: number, account: Account, { bytes, inodes }: Amount, sign: 1 | -1): void {
    if (bytes === 0 && inodes === 0) return;
    for (const { kind, id } of subjectsOf(account)) {
      const key = totalKey(volume, kind, id);
      const total = this.#totals.get(key) ?? { bytes: 0, inodes: 0 };
      total.bytes += sign * bytes;
      total.inodes += sign * inodes;
      if (total.bytes === 0 && total.inodes === 0) this.#totals.delete(key);
      else this.#totals.set(key, total);
    }
  }
}

/** All quotas that an account can have. */
function subjectsOf({ uid, gid, tree }: Account): { kind: QuotaKind; id: number }[] {
  const subjects: { kind: QuotaKind; id: number }[] = [
    { kind: "volume", id: 0 },
    { kind: "user", id: uid },
    { kind: "group", id: gid },
  ];
  if (tree !== 0) subjects.push({ kind: "tree", id: tree });
  return subjects;
}

function fits(needed: Amount, room: Room): boolean {
  return dimensions.every((of) => needed[of] === 0 || room[of] === undefined || needed[of] <= room[of]);
}

function sum(one: Amount, other: Amount): Amount {
  return { bytes: one.bytes + other.bytes, inodes: one.inodes + other.inodes };
}

function totalKey(volume: number, kind: QuotaKind, id: number): string {
  return `${volume} ${kind} ${id}`;
}
