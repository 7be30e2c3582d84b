/**
 * Quota that the leader has granted to this client: what a change adds to the usage of an account is taken from it before the change
 * is made, so a change that was answered is within all limits, and the one that goes over a limit fails at once.
 *
 * 1. The rule of an operation asks (`charge`, as its last check). If the account's grant doesn't reach, the attempt ends with
 *    `LackingQuota`, as with a lease that is missing (access.ts); it is obtained, and the attempt is made again.
 * 2. What was taken belongs to the journal's entry. Until that is committed the leader is told that we have it: it may count for a
 *    moment both as ours and as used, never as neither.
 * 3. More is asked for before a grant is used up. If the leader has none to give, everything done here so far is committed first (what was
 *    removed counts no more), and the leader asks all clients to do the same and to give back what they don't use: also this
 *    one, which may have grants of other accounts under the same limit. Only then it is EDQUOT.
 * 4. Of an account without limits nothing is counted, until the leader says that limits have changed. A volume that never
 *    had quotas (version 0) costs nothing.
 */
import { FileError } from "../errors/file-error.ts";
import { type Account, type Amount, accountKey, type Dimension, dimensions } from "../namespace/usage.ts";
import type { Clock, Timer } from "../platform/clock.ts";
import { grantQuota, type HeldQuota, heldQuotasMax } from "../wire/catalogue/quotas.ts";
import type { Session } from "./session.ts";
import type { Operation } from "./waits.ts";

/** What is asked for ahead: twice as much each time, as with space on disks. The leader gives less as a limit nears. */
const aheadFirst: Amount = { bytes: 8 * 1024 * 1024, inodes: 64 };
const aheadMax: Amount = { bytes: 256 * 1024 * 1024, inodes: 4096 };
/** For so long, or until something else is done here, a program that tries again and again is refused from memory. */
const deniedMs = 20;
/** A round of all clients takes until each has answered or its session has ended. */
const recallTimeoutMs = 30_000;
/** Grants that were not touched for so long go back. */
const idleMs = 30_000;
/** Orphans that are on their way back to the leader are waited for so long, so that their space counts. */
const quietMs = 300;

/** A change adds more than the account has been granted. */
export class LackingQuota {
  readonly account: Account;
  readonly amount: Amount;

  constructor(account: Account, amount: Amount) {
    this.account = account;
    this.amount = amount;
  }
}

/** Taken by a change that is being made. */
export interface Charge {
  readonly account: Account;
  readonly amount: Amount;
}

/** Taken and not known to be committed, up to a position of the journal. */
interface Uncommitted {
  bytes: number;
  inodes: number;
  position: number;
}

interface Grant {
  readonly account: Account;
  /** The leader says how much there is; false: `without limit` in that respect. */
  readonly isLimited: { bytes: boolean; inodes: boolean };
  /** Version of the quotas for which that is true; 0: it was never asked. */
  version: number;
  available: { bytes: number; inodes: number };
  /** Set aside. */
  readonly reserved: { bytes: number; inodes: number };
  /** In two parts, so that the older one comes to an end while more is taken. */
  older: Uncommitted;
  newer: Uncommitted;
  /** Number of the last grant. */
  seen: number;
  ahead: Amount;
  /** What operations are obtaining, or have obtained while they need more of another account. */
  readonly wanted: { bytes: number; inodes: number };
  /** One at a time. */
  asking: Promise<void> | undefined;
  deniedUntilMs: number;
  /** Position of the journal. */
  deniedAt: number;
  denied: { bytes: boolean; inodes: boolean };
  /** The last answer gave as much ahead as was asked for. */
  isPlenty: boolean;
  isTouched: boolean;
}

/** What of a session it needs. */
export interface QuotaGrantsParts {
  readonly clock: Clock;
  readonly session: Pick<Session, "id" | "ended" | "request">;
  readonly journal: {
    readonly position: number;
    readonly committedPosition: number;
    committed(position: number, operation?: Operation): Promise<void>;
  };
  /** Leases that were let go are with the leader. */
  readonly quiet: () => Promise<void>;
}

export class QuotaGrants {
  readonly #parts: QuotaGrantsParts;
  readonly #grants = new Map<string, Grant>();
  #version: number;
  #timer: Timer | undefined;

  constructor(parts: QuotaGrantsParts, version: number) {
    this.#parts = parts;
    this.#version = version;
  }

  /** False for a volume that never had quotas. */
  get isActive(): boolean {
    return this.#version > 0;
  }

  /** Takes an amount of the account's grant. Throws LackingQuota. */
  take(account: Account, amount: Amount): Charge {
    const grant = this.#grant(account);
    grant.isTouched = true;
    if (!this.#reaches(grant, amount)) throw new LackingQuota(account, amount);
    for (const of of dimensions) if (grant.isLimited[of]) grant.available[of] -= amount[of];
    // Where there is not much left, it is asked for when it is needed.
    if (grant.isPlenty && this.#isLow(grant)) this.#askAhead(grant);
    return { account, amount };
  }

  /** The change was not made. */
  giveBack(charges: readonly Charge[]): void {
    for (const { account, amount } of charges) {
      const grant = this.#grant(account);
      for (const of of dimensions) if (grant.isLimited[of]) grant.available[of] += amount[of];
    }
  }

  /**
   * Sets an amount aside for a change that comes later. What is returned gives it back: in the turn in which the change is made, or
   * when it isn't. Throws LackingQuota.
   */
  reserve(account: Account, amount: Amount): () => void {
    this.take(account, amount);
    const grant = this.#grant(account);
    const taken = { bytes: 0, inodes: 0 };
    for (const of of dimensions) if (grant.isLimited[of]) taken[of] = amount[of];
    for (const of of dimensions) grant.reserved[of] += taken[of];
    return () => {
      for (const of of dimensions) {
        grant.reserved[of] -= taken[of];
        grant.available[of] += taken[of];
        taken[of] = 0;
      }
    };
  }

  /** The change is in the journal. */
  placed(charges: readonly Charge[], position: number): void {
    for (const { account, amount } of charges) {
      const grant = this.#grant(account);
      this.#settle(grant);
      const { newer } = grant;
      for (const of of dimensions) if (grant.isLimited[of]) newer[of] += amount[of];
      newer.position = position;
      if (grant.older.position === 0) this.#turn(grant);
    }
  }

  /** Resolves when the account's grant has reached so far. Errors: EDQUOT, EIO (the session has ended). */
  async obtain({ account, amount }: LackingQuota, operation: Operation): Promise<void> {
    const letGo = this.keep(account, amount);
    try {
      await this.#obtain(this.#grant(account), amount, operation);
    } finally {
      letGo();
    }
  }

  /** Until what is returned is called, a recall leaves the account so much of what it has: an operation needs it. */
  keep(account: Account, amount: Amount): () => void {
    const { wanted } = this.#grant(account);
    for (const of of dimensions) wanted[of] += amount[of];
    return () => {
      for (const of of dimensions) wanted[of] -= amount[of];
    };
  }

  async #obtain(grant: Grant, amount: Amount, operation: Operation): Promise<void> {
    const { clock, journal } = this.#parts;
    await this.#whenAsked(grant);
    if (this.#reaches(grant, amount)) return;
    const isRecent = clock.nowMs() < grant.deniedUntilMs && grant.deniedAt === journal.position;
    const lacks = (of: Dimension) => grant.isLimited[of] && amount[of] > grant.available[of];
    if (!this.#isKnown(grant) || !isRecent || !dimensions.some((of) => lacks(of) && grant.denied[of])) {
      operation.waitsFor = "the leader, to grant quota";
      await this.#ask(grant, amount, false);
      if (this.#reaches(grant, amount)) return;
      await this.#commitAll(operation);
      operation.check();
      operation.waitsFor = "other clients, to give back quota";
      await this.#whenAsked(grant);
      await this.#ask(grant, amount, true);
      if (this.#reaches(grant, amount)) return;
      grant.deniedUntilMs = clock.nowMs() + deniedMs;
      grant.deniedAt = journal.position;
      grant.denied = { bytes: lacks("bytes"), inodes: lacks("inodes") };
    }
    const { uid, gid } = grant.account;
    throw new FileError("EDQUOT", `the quota of uid ${uid}, gid ${gid}, their directory or their volume is used up`);
  }

  /** What may still be added here without asking. */
  availableBytes(account: Account): number {
    const grant = this.#grant(account);
    return grant.isLimited.bytes || !this.#isKnown(grant) ? grant.available.bytes : Number.POSITIVE_INFINITY;
  }

  /** What the leader is told after a reconnect. */
  held(): HeldQuota[] {
    return [...this.#grants.values()].map((grant) => this.#heldOf(grant)).slice(0, heldQuotasMax);
  }

  /** The volume's quotas are of this version now. */
  learn(version: number): void {
    if (version > this.#version) this.#version = version;
  }

  /** Commits all that was done here, and gives back what isn't used. */
  async recall(version: number): Promise<HeldQuota[]> {
    this.learn(version);
    await this.#commitAll();
    for (const grant of this.#grants.values()) this.#release(grant);
    return this.held();
  }

  lost(): void {
    this.#timer?.cancel();
  }

  #reaches(grant: Grant, amount: Amount): boolean {
    if (!this.#isKnown(grant)) return false;
    return dimensions.every((of) => !grant.isLimited[of] || amount[of] === 0 || amount[of] <= grant.available[of]);
  }

  #isKnown(grant: Grant): boolean {
    return grant.version >= this.#version;
  }

  #isLow(grant: Grant): boolean {
    return dimensions.some((of) => grant.isLimited[of] && grant.available[of] < grant.ahead[of] / 4);
  }

  /** What was obtained for a change that is about to be made is as good as used. */
  #release(grant: Grant): void {
    for (const of of dimensions) grant.available[of] = Math.min(grant.available[of], grant.wanted[of]);
    grant.ahead = aheadFirst;
  }

  /** Not longer than needed: whoever waits for us may be waited for by what is leaving. */
  async #commitAll(operation?: Operation): Promise<void> {
    const { clock, journal, quiet } = this.#parts;
    await journal.committed(journal.position, operation);
    const late = Promise.withResolvers<void>();
    const timer = clock.startTimer(quietMs, () => late.resolve());
    await Promise.race([quiet(), late.promise]);
    timer.cancel();
  }

  // --- asking ---

  async #whenAsked(grant: Grant): Promise<void> {
    while (grant.asking !== undefined) await grant.asking.catch(() => {});
  }

  #askAhead(grant: Grant): void {
    if (grant.asking !== undefined || this.#parts.session.ended) return;
    this.#ask(grant, { bytes: 0, inodes: 0 }, false).catch(() => {});
  }

  /** One at a time: what an answer on its way gives has to be said with the next question. Errors: those of the session. */
  async #ask(grant: Grant, needed: Amount, recall: boolean): Promise<void> {
    // In the turn in which this ends: others wait for the same.
    while (grant.asking !== undefined) await grant.asking.catch(() => {});
    const asking = this.#askOnce(grant, needed, recall).finally(() => {
      grant.asking = undefined;
    });
    grant.asking = asking;
    return asking;
  }

  async #askOnce(grant: Grant, needed: Amount, recall: boolean): Promise<void> {
    const { session } = this.#parts;
    // What is there already counts.
    const missing = (of: Dimension) => Math.max(0, needed[of] - grant.available[of]);
    const request = {
      session: session.id,
      held: this.#heldOf(grant),
      needed: { bytes: missing("bytes"), inodes: missing("inodes") },
      ahead: grant.ahead,
      recall,
    };
    const options = recall ? { timeoutMs: recallTimeoutMs } : {};
    const answer = await session.request(grantQuota, request, undefined, options);
    grant.seen = answer.number;
    grant.version = answer.version;
    for (const of of dimensions) {
      const given = answer[of];
      grant.isLimited[of] = given !== undefined;
      if (given === undefined) grant.available[of] = 0;
      else grant.available[of] += given;
    }
    grant.isPlenty = dimensions.every((of) => answer[of] === undefined || answer[of] >= grant.ahead[of]);
    grant.ahead = grant.isPlenty ? doubled(grant.ahead) : aheadFirst;
  }

  #heldOf(grant: Grant): HeldQuota {
    this.#settle(grant);
    const { account, available, reserved, older, newer, seen } = grant;
    const total = (of: Dimension) => available[of] + reserved[of] + older[of] + newer[of];
    return { account, seen, amount: { bytes: total("bytes"), inodes: total("inodes") } };
  }

  /** Forgets what is committed. */
  #settle(grant: Grant): void {
    const { committedPosition } = this.#parts.journal;
    if (grant.older.position === 0 || grant.older.position > committedPosition) return;
    grant.older = nothing();
    this.#turn(grant);
    if (grant.older.position <= committedPosition) grant.older = nothing();
  }

  /** What nobody has used for a while goes back, and so does the knowledge of it. */
  #arm(): void {
    if (this.#timer !== undefined || this.#parts.session.ended) return;
    this.#timer = this.#parts.clock.startTimer(idleMs, () => {
      this.#timer = undefined;
      for (const [key, grant] of this.#grants) {
        const isIdle = !grant.isTouched && grant.asking === undefined;
        grant.isTouched = false;
        if (isIdle) void this.#giveUp(key, grant);
      }
      if (this.#grants.size > 0) this.#arm();
    });
  }

  async #giveUp(key: string, grant: Grant): Promise<void> {
    this.#release(grant);
    grant.ahead = { bytes: 0, inodes: 0 };
    try {
      await this.#ask(grant, { bytes: 0, inodes: 0 }, false);
    } catch {
      return; // the session has ended
    }
    const { amount } = this.#heldOf(grant);
    const isEmpty = amount.bytes === 0 && amount.inodes === 0 && grant.asking === undefined;
    if (isEmpty && !grant.isTouched) this.#grants.delete(key);
    else grant.ahead = aheadFirst;
  }

  #turn(grant: Grant): void {
    grant.older = grant.newer;
    grant.newer = nothing();
  }

  #grant(account: Account): Grant {
    const key = accountKey(account);
    let grant = this.#grants.get(key);
    if (grant === undefined) {
      grant = {
        account,
        isLimited: { bytes: true, inodes: true },
        version: 0,
        available: { bytes: 0, inodes: 0 },
        reserved: { bytes: 0, inodes: 0 },
        older: nothing(),
        newer: nothing(),
        seen: 0,
        ahead: aheadFirst,
        wanted: { bytes: 0, inodes: 0 },
        asking: undefined,
        deniedUntilMs: 0,
        deniedAt: 0,
        denied: { bytes: false, inodes: false },
        isPlenty: true,
        isTouched: true,
      };
      this.#grants.set(key, grant);
      this.#arm();
    }
    return grant;
  }
}

function nothing(): Uncommitted {
  return { bytes: 0, inodes: 0, position: 0 };
}

function doubled({ bytes, inodes }: Amount): Amount {
  return { bytes: Math.min(bytes * 2, aheadMax.bytes), inodes: Math.min(inodes * 2, aheadMax.inodes) };
}
