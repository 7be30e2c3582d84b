/**
 * The client's session with the leader, over one connection at a time.
 *
 * The session outlives its connections: after each reconnect the client states what it holds, sends its unanswered
 * transactions again, and goes on. It ends when the leader says so (sessionExpired), and then for good: what was under
 * way fails with EIO, and the owner opens a new session.
 *
 * Whether the session still stands is only known for a time: until `sessionTimeoutMs` after the *sending* of the last
 * request by which the leader heard of us and that it answered, less a margin for clocks that run differently. After
 * that the leader may have fenced us. So nothing is answered from memory then (`whenLive` waits); what stores are asked
 * they refuse themselves. If the leader was merely away, the stated holdings bring everything back.
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { FileError } from "../errors/file-error.ts";
import type { SessionUser, VolumeRecord } from "../namespace/model.ts";
import type { Timer } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import type { Platform } from "../platform/platform.ts";
import { randomId } from "../platform/random.ts";
import { heartbeat } from "../wire/catalogue/leader.ts";
import { closeSession, openSession } from "../wire/catalogue/sessions.ts";
import type { ServerPeer } from "../wire/connect.ts";
import type { Method } from "../wire/method.ts";
import type { Peer, RequestOptions } from "../wire/peer.ts";
import { sayFarewell } from "./farewell.ts";
import { stateAll } from "./holdings.ts";
import { LeaderClock } from "./leader-clock.ts";
import { LeaderLinks } from "./leader-links.ts";
import { Lifeline } from "./lifeline.ts";
import { Backoff, isTransient } from "./retry.ts";
import { checkOptions, type SessionOptions, type SessionOwner } from "./session-options.ts";
import type { Operation } from "./waits.ts";

/** Of the session's time, so that two lost heartbeats are no harm. */
const heartbeatFraction = 0.2;
/** Of the session's time: clocks of two machines differ by far less than this. The leader waits longer, too. */
const driftFraction = 0.05;
/** An idempotent request that has no answer by then is asked again. */
const requestTimeoutMs = 10_000;
/** While no address answers, all are tried again after at most this long: a new leader is found within it. */
const reconnectDelayMsMax = 250;

export class Session {
  /** The client's own id; a new one for each session, so that a resent opening can't meet an older session. */
  readonly clientId: string;
  readonly user: SessionUser | undefined;
  readonly clock: LeaderClock;
  readonly #platform: Platform;
  readonly #log: Logger;
  readonly #options: SessionOptions;
  readonly #owner: SessionOwner;
  readonly #backoff: Backoff;
  readonly #lifeline: Lifeline;
  #id = 0;
  #volume: VolumeRecord | undefined;
  #sessionTimeoutMs = 0;
  #coverGrant = 0;
  /** The leader is low on space: changes are answered only when they are committed. */
  writeThrough = false;
  /** The connection, once its leader knows what we hold. */
  #peer: ServerPeer | undefined;
  /** Those who wait for a connection share a promise. */
  #connected = Promise.withResolvers<Peer>();
  #liveUntilMs = 0;
  #extended = Promise.withResolvers<void>();
  #ended: string | undefined;
  #heartbeatTimer: Timer | undefined;
  readonly #links: LeaderLinks;

  private constructor(platform: Platform, options: SessionOptions, owner: SessionOwner) {
    this.#platform = platform;
    this.#log = platform.logger.for("session");
    this.#options = options;
    this.user = options.user;
    this.#owner = owner;
    this.clientId = randomId(platform.random);
    this.#links = new LeaderLinks(platform, this.#log, options, this.clientId);
    this.clock = new LeaderClock(platform.clock);
    this.#backoff = new Backoff(platform, reconnectDelayMsMax);
    this.#lifeline = new Lifeline(platform);
    this.#connected.promise.catch(() => {});
    this.#extended.promise.catch(() => {});
  }

  /**
   * Opens a session. Errors: BrineError notFound (no such volume), wrongCluster, versionMismatch, refused, busy; and
   * unreachable, notServing, … when the patience has come to its end.
   */
  static async open(platform: Platform, options: SessionOptions, owner: SessionOwner): Promise<Session> {
    checkOptions(options);
    const session = new Session(platform, options, owner);
    const deadlineMs = platform.clock.nowMs() + options.patienceMs;
    for (;;) {
      try {
        await session.#connect();
        return session;
      } catch (error) {
        if (!isTransient(error) || platform.clock.nowMs() >= deadlineMs || !options.wanted()) {
          session.#links.stop();
          throw error;
        }
      }
      await session.#backoff.wait();
    }
  }

  get id(): number {
    return this.#id;
  }

  /** The connection, while there is one. */
  get peer(): Peer | undefined {
    return this.#peer;
  }

  get volume(): VolumeRecord {
    return this.#volume!;
  }

  /** Names the leases on what this client makes. */
  get coverGrant(): number {
    return this.#coverGrant;
  }

  /** How long others can't have been given what this session holds. */
  get liveForMs(): number {
    if (this.#ended !== undefined) return 0;
    return Math.max(0, this.#liveUntilMs - this.#platform.clock.nowMs());
  }

  /** What is known of the leader that was met last. */
  get known(): SessionOptions["known"] {
    return this.#links.known;
  }

  /** Says who, if the leader has left out heartbeats; undefined as long as it answers. */
  get silentLeader(): string | undefined {
    return this.#links.silence(2 * heartbeatFraction * this.#sessionTimeoutMs);
  }

  get clusterId(): string {
    return this.#links.clusterId;
  }

  get ended(): boolean {
    return this.#ended !== undefined;
  }

  /** True while nobody else can have been given what this session holds. */
  get live(): boolean {
    return this.#ended === undefined && this.#platform.clock.nowMs() < this.#liveUntilMs;
  }

  /** Resolves when the session is known to stand. Rejects with EIO if it has ended. */
  async whenLive(operation: Operation): Promise<void> {
    while (!this.live) {
      this.#checkEnded();
      operation.check();
      operation.waitsFor = "leader, to hear that the session stands";
      await this.#extended.promise;
    }
  }

  /**
   * Asks the leader, again and again until it answers: only for what may be done twice.
   * Errors: FileError of the answer, EIO when the session has ended, other BrineErrors that are final.
   */
  async request<Q, R>(
    method: Method<Q, R>,
    body: Q,
    operation?: Operation,
    options: Partial<RequestOptions> = {},
  ): Promise<R> {
    let backoff: Backoff | undefined;
    for (;;) {
      const peer = this.#peer ?? (await this.#whenConnected(operation));
      operation?.check();
      if (operation !== undefined) operation.waitsFor = method.name;
      try {
        const reply = await peer.request(method, body, { timeoutMs: requestTimeoutMs, ...options });
        if (operation !== undefined) operation.waitsFor = "nothing";
        return reply.body;
      } catch (error) {
        this.judge(peer, error);
        if (!isTransient(error)) throw error;
      }
      if (this.#peer === peer) {
        backoff ??= new Backoff(this.#platform, reconnectDelayMsMax);
        await backoff.wait();
      }
    }
  }

  /**
   * What an error of a request says of connection and session: ends what has ended. Throws EIO if that is the session.
   */
  judge(peer: Peer, error: unknown): void {
    if (hasCode(error, "sessionExpired", "sessionFenced")) this.end(error.message);
    else if (hasCode(error, "notLeader")) peer.close("not the leader any more");
    this.#checkEnded();
  }

  /** The connection is of no use: a new one is made, and what was under way is asked again. */
  drop(peer: Peer, reason: string): void {
    peer.close(reason);
  }

  /** The session has ended: everything fails from now on. Idempotent. */
  end(reason: string): void {
    if (this.#ended !== undefined) return;
    this.#log.error("session lost: what was under way fails with EIO, open files have to be opened again", {
      session: this.#id,
      reason,
    });
    const [leftMs, peer] = [this.liveForMs, this.#peer];
    this.#fail(reason);
    const forgotten = this.#owner.lost(reason);
    const parts = { session: this.#id, forgotten, leftMs, peers: () => this.#peersToTell(peer) };
    void sayFarewell(this.#platform, parts).then(() => this.#disconnect(peer, reason));
  }

  /** Tells the leader that everything was given back, and disconnects. Tries for at most `timeoutMs`. */
  async close(timeoutMs: number): Promise<void> {
    if (this.#ended !== undefined) return;
    const deadline = this.#platform.clock.startTimer(timeoutMs, () => this.#stop("not closed in time"));
    try {
      await this.request(closeSession, { session: this.#id });
    } catch (error) {
      this.#log.warn("session not closed: it will expire", { session: this.#id, reason: String(error) });
    }
    deadline.cancel();
    this.#stop("unmounted");
  }

  /** Ends the connection without a word, as a crash would; what waits fails. */
  abandon(): void {
    this.#stop("unmounted");
  }

  // --- connecting ---

  async #whenConnected(operation: Operation | undefined): Promise<Peer> {
    this.#checkEnded();
    if (operation !== undefined) operation.waitsFor = `connection to ${this.#links.leaders.addresses.join(" or ")}`;
    return this.#connected.promise;
  }

  async #reconnect(): Promise<void> {
    while (this.#ended === undefined) {
      try {
        await this.#connect();
        return;
      } catch (error) {
        if (this.#ended !== undefined) return;
        if (hasCode(error, "sessionExpired", "sessionFenced")) {
          this.end(error.message);
          return;
        }
        if (!isTransient(error)) this.#log.warn("not accepted by a server", { reason: String(error) });
      }
      await this.#backoff.wait();
    }
  }

  /** One round of a search. Errors: what a leader answers, or why there is none. */
  async #connect(): Promise<void> {
    let failure: unknown;
    for await (const peer of this.#links.round()) {
      try {
        await this.#enterOn(peer);
      } catch (error) {
        peer.close("not ready");
        if (hasCode(error, "sessionExpired", "sessionFenced")) throw error;
        // Another one may answer still; else what is final says more than what may pass.
        if (failure === undefined || isTransient(failure)) failure = error;
        continue;
      }
      return this.#begin(peer);
    }
    throw failure ?? this.#links.failure;
  }

  /** The session, and what it holds, on a new connection. */
  async #enterOn(peer: ServerPeer): Promise<void> {
    this.#links.met(peer);
    if (this.#ended === undefined && this.#id === 0) await this.#openOn(peer);
    if (this.#ended === undefined) await this.#stateOn(peer);
    if (this.#ended !== undefined) throw new BrineError("closed", "unmounted meanwhile");
  }

  async #openOn(peer: Peer): Promise<void> {
    const sentMs = this.#platform.clock.nowMs();
    const { volume, user } = this.#options;
    const request = { clientId: this.clientId, volume, host: this.#links.host, user };
    const { body } = await peer.request(openSession, request, { timeoutMs: requestTimeoutMs });
    this.#id = body.session;
    this.#volume = body.volume;
    this.#sessionTimeoutMs = body.sessionTimeoutMs;
    this.#coverGrant = body.coverGrant;
    this.clock.heard(sentMs, body.nowNs);
    this.#extend(sentMs);
  }

  async #stateOn(peer: Peer): Promise<void> {
    const sentMs = this.#platform.clock.nowMs();
    const { quotaVersion, leaders } = await stateAll(peer, this.#id, sentMs, this.#owner.holdings(), requestTimeoutMs);
    this.#links.leaders.named(peer.remote.address, leaders);
    this.#owner.quotasChanged(quotaVersion);
    this.#extend(sentMs);
  }

  #begin(peer: ServerPeer): void {
    this.#links.entered(peer);
    this.#log.info("connected", { address: peer.remote.address, session: this.#id });
    this.#backoff.reset();
    this.#peer = peer;
    // Before anyone who waits: transactions are sent again in their order, ahead of new ones.
    this.#owner.connected(peer);
    this.#connected.resolve(peer);
    peer.onClose((reason) => this.#onClose(peer, reason));
    if (this.#peer === peer) this.#scheduleHeartbeat(peer);
    void this.#lifeline.renew(peer.remote.address, this.#links.identity, this.#id);
  }

  #onClose(peer: Peer, reason: string): void {
    if (this.#peer !== peer) return;
    this.#peer = undefined;
    this.#heartbeatTimer?.cancel();
    if (this.#ended !== undefined) return;
    this.#log.warn("connection lost", { session: this.#id, reason });
    this.#connected = Promise.withResolvers<Peer>();
    this.#connected.promise.catch(() => {});
    void this.#reconnect();
  }

  // --- staying alive ---

  #scheduleHeartbeat(peer: Peer): void {
    const intervalMs = this.#sessionTimeoutMs * heartbeatFraction;
    this.#heartbeatTimer = this.#platform.clock.startTimer(intervalMs, () => void this.#beat(peer, intervalMs));
  }

  async #beat(peer: Peer, timeoutMs: number): Promise<void> {
    const sentMs = this.#platform.clock.nowMs();
    try {
      const { body } = await peer.request(heartbeat, { session: this.#id }, { timeoutMs: timeoutMs * 2, urgent: true });
      this.clock.heard(sentMs, body.nowNs);
      this.writeThrough = body.writeThrough;
      this.#links.told(peer, body);
      this.#extend(sentMs);
    } catch (error) {
      if (hasCode(error, "sessionExpired", "sessionFenced")) this.end(error.message);
      else peer.close(`heartbeat: ${String(error)}`);
    }
    if (this.#peer === peer) this.#scheduleHeartbeat(peer);
  }

  #extend(sentMs: number): void {
    this.#links.heard(undefined);
    this.#liveUntilMs = Math.max(this.#liveUntilMs, sentMs + this.#sessionTimeoutMs * (1 - driftFraction));
    this.#owner.extended(this.#liveUntilMs);
    this.#extended.resolve();
    this.#extended = Promise.withResolvers<void>();
    this.#extended.promise.catch(() => {});
  }

  #stop(reason: string): void {
    if (this.#ended !== undefined) return;
    const peer = this.#peer;
    this.#fail(reason);
    this.#disconnect(peer, reason);
  }

  /** Everything that waits or is asked from now on. */
  #fail(reason: string): void {
    this.#ended = reason;
    this.#heartbeatTimer?.cancel();
    this.#backoff.cancel();
    this.#links.stop();
    const failure = new FileError("EIO", `the session ended: ${reason}`);
    this.#connected.reject(failure);
    this.#extended.reject(failure);
    this.#peer = undefined;
  }

  #disconnect(peer: Peer | undefined, reason: string): void {
    peer?.close(reason);
    this.#lifeline.close();
  }

  async *#peersToTell(present: Peer | undefined): AsyncIterable<Peer> {
    if (present?.closed === false) yield present;
    yield* this.#links.each();
  }

  #checkEnded(): void {
    if (this.#ended !== undefined) throw new FileError("EIO", `the session ended: ${this.#ended}`);
  }
}
