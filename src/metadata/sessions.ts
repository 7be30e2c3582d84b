/**
 * Sessions of clients: which are there, over which connection, and which are still heard of.
 *
 *                    open                    closed, or not heard of
 *        (nothing) ─────────► live ───────────────────────────────────► ending ─────► (nothing)
 *                               ▲                                   (ending.ts: fenced at the stores,
 *     in the state at start ────┘                                    chunks made equal, closeSession committed)
 *
 * A session outlives its connections and this process. The last connection that spoke for it counts; what an older one
 * still brings is refused. On a new connection the client first states what it holds, in as many messages as it takes.
 *
 * Grace: a leader that starts knows sessions from the state, but not what they hold. Until each of them has stated it or
 * has ended, no lease of their volume is granted and no orphan of it is reaped.
 *
 * Death: the kernel ends the connections of a process that has died. One of them, the client's lifeline, carries nothing and
 * is not closed by a client that lives; if it ends in an orderly way, and nothing in between can have ended it, the session
 * is ended at once.
 *
 * Expiry: a client that was not heard of for `sessionMs` and a margin has stopped using what it holds. If this process
 * was itself held up (paused, or a slow disk), messages may be waiting unread: the time that it was late is given to all. So
 * is the time until its server listens, after the start of its store, and any in which it refuses to answer, since neither the
 * ledger's copy nor its witness has given it leave to.
 */
import { BrineError } from "../errors/brine-error.ts";
import type { SessionRecord, SessionUser, VolumeRecord } from "../namespace/model.ts";
import { isFromBeforeRestore } from "../namespace/restored.ts";
import { isSameAddress } from "../platform/address.ts";
import { closedByPeer } from "../platform/network.ts";
import type { stateHoldings } from "../wire/catalogue/leader.ts";
import type { HeldLock } from "../wire/catalogue/locks.ts";
import type { HeldQuota } from "../wire/catalogue/quotas.ts";
import type { Peer } from "../wire/peer.ts";
import { coverGrant } from "./grants.ts";
import { type Holdings, isInUse } from "./holdings.ts";
import type { Leader } from "./leader.ts";
import { leaseBounds } from "./lease-limits.ts";
import type { StatedLease } from "./leases.ts";
import { volumeNamed } from "./named.ts";
import { bindToUser, type OpeningRequest } from "./session-user.ts";

/** A small part of a session's time. */
const checkIntervalMs = 200;

export interface Session {
  readonly id: number;
  readonly clientId: string;
  readonly volume: number;
  readonly host: string;
  readonly openedNs: bigint;
  /** For whom it acts, as in the namespace; undefined: it serves many users, as a mount does. */
  user: SessionUser | undefined;
  /** The connection that speaks for it. */
  peer: Peer | undefined;
  /** The client has stated its holdings on this connection. */
  isStated: boolean;
  /** This leader knows what it holds: it opened the session, or the client has stated it once. */
  isKnown: boolean;
  /** What the client has stated so far on this connection. */
  stated: Stated | undefined;
  /** When the last statement was made, by the client's clock. */
  statedUs: number;
  /** The connection whose orderly end says that the client's process has ended, and its number. */
  lifeline: Peer | undefined;
  lifelineNumber: number;
  heardMs: number;
  /** Why it is being ended. */
  ending: string | undefined;
}

/** Holdings as they come in. */
interface Stated {
  readonly holds: number[];
  readonly leases: StatedLease[];
  readonly locks: HeldLock[];
  readonly quotas: HeldQuota[];
}

export type HoldingsMessage = Parameters<typeof stateHoldings.request.write>[1];

/** Leases, holds, and locks, that one client can state: as many leases as a session is ever given. */
const statedMax = 2 * leaseBounds.keptMax;

export interface OpenedSession {
  readonly session: number;
  readonly lastSequence: number;
  readonly volume: VolumeRecord;
  readonly sessionTimeoutMs: number;
  readonly coverGrant: number;
  readonly nowNs: bigint;
}

export interface SessionsHooks {
  /** Ends the session for good; resolves when its end is committed. */
  readonly end: (session: Session) => Promise<void>;
  /** It has said which grants of quota it has: no others. */
  readonly onStated: (session: Session, quotas: readonly HeldQuota[]) => void;
  /** It was opened at an earlier leader, and its client has come back. */
  readonly onBack: (session: number) => void;
  /** Its end is committed. */
  readonly onGone: (session: number) => void;
  /** Fewer sessions hold something, or may. */
  readonly onFewer: () => void;
}

export class Sessions {
  readonly #leader: Leader;
  readonly #holdings: Holdings;
  readonly #hooks: SessionsHooks;
  readonly #sessions = new Map<number, Session>();
  /** Those that have not stated yet what they hold: nearly always none. */
  readonly #unknown = new Set<Session>();
  /** Ends under way. */
  readonly #ends = new Map<number, Promise<void>>();
  /** Those who wait for the end of a volume's grace. */
  readonly #graceWaiters = new Map<number, (() => void)[]>();

  constructor(leader: Leader, holdings: Holdings, hooks: SessionsHooks) {
    this.#leader = leader;
    this.#holdings = holdings;
    this.#hooks = hooks;
  }

  /** Takes over the sessions of the state, and begins to watch. */
  start(): void {
    const records = this.#leader.namespace.sessions();
    const { namespace, lifetime } = this.#leader;
    for (const record of records) {
      const session = this.#add(record, false);
      if (!isFromBeforeRestore(record.session, namespace.sessionsBelow)) continue;
      lifetime.run("end session", () =>
        this.end(session, "the metadata goes on without changes that were acknowledged"),
      );
    }
    if (records.length > 0) this.#leader.log.info("waiting for clients to come back", { sessions: records.length });
    lifetime.repeat(checkIntervalMs, (deafMs) => this.#expire(deafMs));
  }

  get count(): number {
    return this.#sessions.size;
  }

  all(): Session[] {
    return [...this.#sessions.values()];
  }

  get(id: number): Session | undefined {
    return this.#sessions.get(id);
  }

  /** Ids of those that stores may serve. */
  liveIds(): number[] {
    return this.all()
      .filter((session) => session.ending === undefined)
      .map((session) => session.id);
  }

  /**
   * Answered when the session is bound to its user, if it is to have one.
   *
   * Errors: notFound (no such volume), sessionExpired (this client's session has ended), invalid (it has another volume or user).
   */
  async open(request: OpeningRequest, peer: Peer): Promise<OpenedSession> {
    const { namespace, committer, timeouts, log } = this.#leader;
    const volume = volumeNamed(namespace, request.volume);
    let session = this.all().find((one) => one.clientId === request.clientId);
    if (session === undefined) {
      const { clientId, host } = request;
      const result = await committer.execute({ kind: "openSession", clientId, volume: volume.volume, host });
      // Its volume may have been deleted meanwhile.
      if (result.kind !== "session") throw new BrineError("notFound", `volume "${request.volume}" can't be mounted`);
      session = this.#sessions.get(result.session) ?? this.#add(namespace.session(result.session)!, true);
      log.info("session opened", { session: session.id, volume: volume.name, host });
    }
    if (session.ending !== undefined) throw expired(session.id, session.ending);
    if (session.volume !== volume.volume) {
      throw new BrineError("invalid", `client ${request.clientId} has a session on another volume`);
    }
    await bindToUser(committer, session, request.user);
    if (session.ending !== undefined) throw expired(session.id, session.ending);
    this.#bind(session, peer);
    const { lastSequence } = namespace.session(session.id)!;
    const nowNs = committer.nowNs();
    const sessionTimeoutMs = timeouts.sessionMs;
    return { session: session.id, lastSequence, volume, sessionTimeoutMs, coverGrant, nowNs };
  }

  /** The client says on this connection what it holds. Errors: sessionExpired, invalid. */
  state(message: HoldingsMessage, peer: Peer): Session {
    const session = this.#live(message.session);
    // It has been under way for long, and its client has another connection: what it had then may have gone back meanwhile, or come.
    if (message.madeUs < session.statedUs)
      throw new BrineError("closed", `session ${session.id} has stated its holdings later`);
    session.statedUs = message.madeUs;
    this.#bind(session, peer);
    if (message.first) session.stated = { holds: [], leases: [], locks: [], quotas: [] };
    const { stated } = session;
    if (stated === undefined) throw new BrineError("invalid", `session ${session.id}: holdings without a beginning`);
    for (const hold of message.holds) stated.holds.push(hold);
    for (const lease of message.leases) stated.leases.push(lease);
    for (const lock of message.locks) stated.locks.push(lock);
    for (const quota of message.quotas) stated.quotas.push(quota);
    if (Math.max(stated.holds.length, stated.leases.length, stated.locks.length, stated.quotas.length) > statedMax) {
      throw new BrineError("invalid", `session ${session.id} states more than ${statedMax} of a kind`);
    }
    if (!message.last) return session;
    session.stated = undefined;
    this.#take(session, stated);
    return session;
  }

  /** In place of all that was known of what the session has. */
  #take(session: Session, stated: Stated): void {
    const { namespace, log } = this.#leader;
    const volume = this.#holdings.of(session.volume);
    const isInGrace = this.isInGrace(session.volume);
    const keeps = (inode: number): boolean => {
      const record = namespace.inode(session.volume, inode);
      // What isn't there may be about to be created by a transaction that comes again; what nobody used may be half reaped.
      return record === undefined || isInGrace || record.attributes.linkCount > 0 || isInUse(volume, inode);
    };
    const { leases, holds, locks } = volume;
    const kept = stated.holds.filter(keeps);
    holds.drop(session.id);
    for (const inode of kept) holds.add(session.id, inode);
    session.isStated = true;
    this.#hooks.onStated(session, stated.quotas);
    const isUnborn = (inode: number): boolean => namespace.mayCreate(session.id, inode);
    // Before leases: who gets one of these now has to know of the locks.
    locks.restate(session.id, stated.locks);
    leases.restate(session.id, stated.leases, { isKnown: session.isKnown, isUnborn });
    if (!session.isKnown) {
      session.isKnown = true;
      this.#unknown.delete(session);
      log.info("client is back", { session: session.id, leases: stated.leases.length, holds: kept.length });
      this.#hooks.onBack(session.id);
    }
    this.#hooks.onFewer();
    this.#checkGrace(session.volume);
  }

  /** Errors: sessionExpired. */
  heartbeat(id: number, peer: Peer): void {
    const session = this.#live(id);
    // A client that doesn't say what it holds can't keep others waiting for ever.
    if (session.peer === peer && session.isStated) session.heardMs = this.#leader.lifetime.nowMs();
  }

  /** This connection ends when the client's process does. Errors: sessionExpired, invalid. */
  lifeline(request: { session: number; number: number; clientAddress: string }, peer: Peer): void {
    const session = this.#live(request.session);
    checkOwner(session, peer);
    // One that was opened earlier and came late may be closed by a client that lives.
    if (request.number <= session.lifelineNumber) return;
    session.lifeline = peer;
    session.lifelineNumber = request.number;
    const isDirect = isSameAddress(request.clientAddress, peer.remote.address);
    peer.onClose((reason) => {
      if (session.lifeline !== peer) return;
      session.lifeline = undefined;
      if (!isDirect || reason !== closedByPeer || session.ending !== undefined) return;
      this.#leader.lifetime.run("end session", () => this.end(session, "its process has ended"));
    });
  }

  /** The live session for which this connection speaks. Errors: sessionExpired, closed, invalid. */
  of(id: number, peer: Peer): Session {
    const session = this.#live(id);
    if (session.peer !== peer) throw new BrineError("closed", `session ${id} has a newer connection`);
    if (!session.isStated) throw new BrineError("invalid", `session ${id} has not stated its holdings`);
    return session;
  }

  /** The client has given everything back. Resolves when the session's end is committed. Errors: invalid (another client's). */
  async close(id: number, peer: Peer): Promise<void> {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    checkOwner(session, peer);
    await this.end(session, "closed");
  }

  /** Idempotent. Resolves when the end is committed. */
  end(session: Session, reason: string): Promise<void> {
    const known = this.#ends.get(session.id);
    if (known !== undefined) return known;
    session.ending = reason;
    if (reason !== "closed")
      this.#leader.log.warn("session is ended", { session: session.id, host: session.host, reason });
    const ended = this.#end(session);
    this.#ends.set(session.id, ended);
    return ended;
  }

  isInGrace(volume: number): boolean {
    for (const session of this.#unknown) if (session.volume === volume) return true;
    return false;
  }

  /** Resolves when all clients of the volume have come back or have ended. */
  whenGraceEnds(volume: number): Promise<void> {
    if (!this.isInGrace(volume)) return Promise.resolve();
    return new Promise((resolve) => {
      const waiting = this.#graceWaiters.get(volume);
      if (waiting === undefined) this.#graceWaiters.set(volume, [resolve]);
      else waiting.push(resolve);
    });
  }

  async #end(session: Session): Promise<void> {
    await this.#hooks.end(session);
    if (this.#leader.lifetime.stopped) return;
    this.#sessions.delete(session.id);
    this.#unknown.delete(session);
    this.#ends.delete(session.id);
    session.peer = undefined;
    session.lifeline = undefined;
    const { leases, holds, locks } = this.#holdings.of(session.volume);
    locks.drop(session.id);
    leases.drop(session.id);
    holds.drop(session.id);
    this.#hooks.onGone(session.id);
    this.#leader.log.info("session ended", { session: session.id, host: session.host, reason: session.ending });
    this.#hooks.onFewer();
    this.#checkGrace(session.volume);
  }

  #live(id: number): Session {
    const session = this.#sessions.get(id);
    if (session === undefined) throw expired(id, "it is not known here");
    if (session.ending !== undefined) throw expired(id, session.ending);
    return session;
  }

  #add(record: SessionRecord, isKnown: boolean): Session {
    const { session: id, clientId, volume, host, openedNs, user } = record;
    const heardMs = this.#leader.lifetime.nowMs();
    const fields = { id, clientId, volume, host, openedNs, user, heardMs, isKnown };
    const session: Session = {
      ...fields,
      peer: undefined,
      isStated: false,
      stated: undefined,
      statedUs: 0,
      lifeline: undefined,
      lifelineNumber: 0,
      ending: undefined,
    };
    this.#sessions.set(id, session);
    if (!isKnown) this.#unknown.add(session);
    return session;
  }

  #bind(session: Session, peer: Peer): void {
    session.heardMs = this.#leader.lifetime.nowMs();
    if (session.peer === peer) return;
    const older = session.peer;
    session.peer = peer;
    session.isStated = false;
    session.stated = undefined;
    older?.close("the client has a newer connection");
    peer.onClose(() => {
      if (session.peer !== peer) return;
      session.peer = undefined;
      session.isStated = false;
    });
  }

  #expire(deafMs: number): void {
    const { timeouts, lifetime } = this.#leader;
    const nowMs = lifetime.nowMs();
    for (const session of this.all()) {
      if (session.ending !== undefined) continue;
      session.heardMs = Math.min(nowMs, session.heardMs + deafMs);
      const silentMs = nowMs - session.heardMs;
      if (silentMs <= timeouts.sessionMs + timeouts.sessionMarginMs) continue;
      const reason = `not heard of for ${(silentMs / 1000).toFixed(1)} s`;
      lifetime.run("end session", () => this.end(session, reason));
    }
  }

  #checkGrace(volume: number): void {
    if (this.isInGrace(volume)) return;
    const waiting = this.#graceWaiters.get(volume);
    if (waiting === undefined) return;
    this.#graceWaiters.delete(volume);
    for (const resolve of waiting) resolve();
  }
}

function expired(id: number, reason: string): BrineError {
  return new BrineError("sessionExpired", `session ${id} has ended: ${reason}`);
}

/** Error: invalid. */
function checkOwner({ id, clientId }: Session, peer: Peer): void {
  if (peer.remote.peerId !== clientId) throw new BrineError("invalid", `session ${id} is another client's`);
}
