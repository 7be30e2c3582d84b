/**
 * Who may do what here, now: the store's lease from the leader, generations of its groups, sessions.
 *
 * The lease: a store serves until `serveMs` after it *sent* the last heartbeat that was answered. The leader counts from
 * receiving, plus a margin, before it gives the store's place to others; so a store that was cut off has stopped by then.
 *
 * A session that the leader ended is refused from then on. What it had under way is awaited by whoever fences it.
 */
import { BrineError } from "../errors/brine-error.ts";
import { groupOfChunk, type MemberState } from "../namespace/model.ts";
import type { Clock } from "../platform/clock.ts";
import type { GroupView } from "../wire/catalogue/leader.ts";
import type { Store } from "./store.ts";

export interface Registration {
  /** The store's own number in groups. */
  readonly store: number;
  readonly liveSessions: readonly number[];
  readonly sessionsBelow: number;
}

export interface Target {
  readonly session: number;
  readonly group: number;
  readonly generation: number;
  readonly chunk: number;
}

export class Admission {
  readonly #clock: Clock;
  readonly #store: Store;
  #registration: Registration | undefined;
  #liveSessions = new Set<number>();
  /** Ended, although `liveSessions` or `sessionsBelow` would let them in. */
  readonly #fencedSessions = new Set<number>();
  /** Groups that go on without this store: the last generation in which it serves them no more, and the connection that said so. */
  readonly #left = new Map<number, { readonly generation: number; readonly by: unknown }>();
  #serveUntilMs = 0;
  #enteredMs = Number.NEGATIVE_INFINITY;
  /** Requests under way of each session that has some. */
  readonly #underWay = new Map<number, number>();
  readonly #onFinished = new Map<number, (() => void)[]>();

  constructor(clock: Clock, store: Store) {
    this.#clock = clock;
    this.#store = store;
  }

  /** The store's number; undefined before the first registration. */
  get storeNumber(): number | undefined {
    return this.#registration?.store;
  }

  /** When the last request of a session came. */
  get enteredMs(): number {
    return this.#enteredMs;
  }

  get serveUntilMs(): number {
    return this.#serveUntilMs;
  }

  /** It has registered. Resolves when the requests of sessions that have ended meanwhile are finished. */
  async register(registration: Registration): Promise<void> {
    this.#registration = registration;
    this.#liveSessions = new Set(registration.liveSessions);
    // What was fenced stays fenced: the list may have been made before. Those that are not on it need no remembering.
    const { sessionsBelow } = registration;
    for (const session of [...this.#fencedSessions]) {
      if (session < sessionsBelow && !this.#liveSessions.has(session)) this.#fencedSessions.delete(session);
    }
    const ended = [...this.#underWay.keys()].filter((session) => !this.isLive(session));
    await Promise.all(ended.map((session) => this.#finished(session)));
  }

  /**
   * It has the groups as this connection's leader gave them to it. What it was told to leave before is its own again, in these
   * generations; not what the leader has said since on the same connection, right behind its answer.
   */
  rejoin(by: unknown): void {
    for (const [group, left] of [...this.#left]) if (left.by !== by) this.#left.delete(group);
  }

  /** A heartbeat sent at `untilMs − serveMs` was answered. */
  serveUntil(untilMs: number): void {
    this.#serveUntilMs = Math.max(this.#serveUntilMs, untilMs);
  }

  /** Nothing more is served until the next answered heartbeat. */
  stopServing(): void {
    this.#serveUntilMs = 0;
  }

  get isServing(): boolean {
    return this.#registration !== undefined && this.#clock.nowMs() < this.#serveUntilMs;
  }

  /** Errors: notServing. */
  checkServing(): void {
    if (this.isServing) return;
    throw new BrineError("notServing", "this store has no contact with the metadata leader", {
      advice: "it serves again when the leader answers; see `brine status`",
    });
  }

  /** Errors: wrongGeneration (unknown group, other generation), notServing (this member isn't in one of `states`). */
  checkGroup(group: number, generation: number, states: readonly MemberState[]): GroupView {
    const view = this.#store.groups.get(group);
    if (view === undefined || view.generation !== generation || this.#store.isGroupChanging(group)) {
      const own = view === undefined ? "this store is not in it" : `here it has ${view.generation}`;
      throw new BrineError("wrongGeneration", `group ${group} was addressed in generation ${generation}, ${own}`);
    }
    if (generation <= (this.#left.get(group)?.generation ?? Number.NEGATIVE_INFINITY)) {
      throw new BrineError("wrongGeneration", `group ${group} goes on without this store`);
    }
    const state = view.members.find((member) => member.store === this.storeNumber)?.state;
    if (state === undefined || !states.includes(state)) {
      throw new BrineError("notServing", `this store is ${state ?? "no member"} in group ${group}`);
    }
    return view;
  }

  /** True if what a client asks of this group is answered now. */
  isAnswering({ group, generation }: GroupView): boolean {
    try {
      this.checkServing();
      this.checkGroup(group, generation, ["inSync"]);
      return true;
    } catch {
      return false;
    }
  }

  /** Serves these groups no more in these generations, nor in earlier ones, which it may still have: the next are without this store. */
  leave(groups: readonly { group: number; generation: number }[], by: unknown): void {
    for (const { group, generation } of groups) this.#left.set(group, { generation, by });
  }

  /** Everything that a request for a chunk must fulfil, but for its session. */
  checkTarget(target: Target, states: readonly MemberState[]): void {
    this.checkServing();
    this.checkGroup(target.group, target.generation, states);
    this.checkChunk(target.chunk, target.group);
  }

  /** Errors: invalid. */
  checkChunk(chunk: number, group: number): void {
    if (groupOfChunk(chunk) === group) return;
    throw new BrineError("invalid", `chunk ${chunk} is not of group ${group}`);
  }

  /** True if requests of the session are accepted. New sessions are live without having been announced. */
  isLive(session: number): boolean {
    const registration = this.#registration;
    if (registration === undefined || session === 0 || this.#fencedSessions.has(session)) return false;
    return session >= registration.sessionsBelow || this.#liveSessions.has(session);
  }

  /** Counts a request of the session as under way until the function returned is called. Errors: sessionFenced. */
  enter(session: number): () => void {
    if (!this.isLive(session)) throw new BrineError("sessionFenced", `session ${session} has ended`);
    this.#enteredMs = this.#clock.nowMs();
    this.#underWay.set(session, (this.#underWay.get(session) ?? 0) + 1);
    return () => this.#leave(session);
  }

  /** Refuses the session from now on; resolves when what it has under way is finished. */
  async fence(session: number): Promise<void> {
    this.#fencedSessions.add(session);
    await this.#finished(session);
  }

  #leave(session: number): void {
    const left = this.#underWay.get(session)! - 1;
    if (left > 0) {
      this.#underWay.set(session, left);
      return;
    }
    this.#underWay.delete(session);
    const waiting = this.#onFinished.get(session) ?? [];
    this.#onFinished.delete(session);
    for (const resolve of waiting) resolve();
  }

  #finished(session: number): Promise<void> {
    if (!this.#underWay.has(session)) return Promise.resolve();
    return new Promise((resolve) => {
      const waiting = this.#onFinished.get(session);
      if (waiting === undefined) this.#onFinished.set(session, [resolve]);
      else waiting.push(resolve);
    });
  }
}
