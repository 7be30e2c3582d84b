/**
 * Gives up what this store has of groups that go on without it: they were rebuilt elsewhere while it was away, or moved.
 *
 * Only the leader's word is enough: a view of the group in a later generation, without this store. That a group is merely
 * not among its own says nothing: so it looks to a store whose cluster has lost its metadata.
 *
 * The store may be taken into the group again meanwhile. What it has then must stay, so each page of chunks is listed and its
 * deletion appended to the log in one turn, before the new view can be.
 *
 * Nor is it enough from a leader whose metadata was restored from a backup (unfitting-generations.ts).
 *
 * Before that the group's members get what they have bad (former-copies.ts). They are asked again until that is done, but not for ever:
 * a copy that is kept takes space.
 */
import { hasCode } from "../errors/brine-error.ts";
import { firstChunkOf } from "../namespace/model.ts";
import type { Clock, Timer } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import type { FormerCopies } from "./former-copies.ts";
import { Rounds } from "./rounds.ts";
import type { Store } from "./store.ts";

/** A record of the log; others are not kept waiting by it. */
const pageChunks = 1024;
/** Members are asked again so soon, each time later. A group of a terabyte is copied within hours. */
const againMs = [10_000, 600_000] as const;
const keptMsMax = 12 * 3_600_000;

export interface AbandonedGroupsParts {
  readonly store: Store;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly former: Pick<FormerCopies, "offer">;
  readonly storeNumber: () => number | undefined;
}

export class AbandonedGroups {
  readonly #parts: AbandonedGroupsParts;
  readonly #rounds = new Rounds(() => this.#giveUpAll());
  /** By group: since when it is kept for its members. */
  readonly #kept = new Map<number, number>();
  /** By group: the generation of the copy that a restored state doesn't know of. */
  #unknown: ReadonlyMap<number, number> = new Map();
  #againMs: number = againMs[0];
  #timer: Timer | undefined;

  constructor(parts: AbandonedGroupsParts) {
    this.#parts = parts;
  }

  /** The present copies of these groups, and of no others, stay: the leader's state is from a backup, and doesn't know of them. */
  keep(groups: readonly number[]): void {
    const known = this.#parts.store.groups;
    this.#unknown = new Map(groups.map((group) => [group, known.get(group)?.generation ?? 0]));
  }

  /** Groups may have gone on without this store. */
  look(): void {
    this.#rounds.ask();
  }

  async stop(): Promise<void> {
    await this.#rounds.stop();
    this.#timer?.cancel();
  }

  /** Never rejects: what is left is given up after the next registration. */
  async #giveUpAll(): Promise<void> {
    const { store, logger } = this.#parts;
    try {
      for (const group of [...store.groups.keys()]) await this.#giveUp(group);
      this.#lookAgain();
    } catch (error) {
      if (!hasCode(error, "noSpace", "diskFailed", "notServing")) throw error;
      logger.warn("copies of groups that are elsewhere now could not be given up yet", { reason: error.message });
    }
  }

  #lookAgain(): void {
    this.#timer?.cancel();
    if (this.#kept.size === 0) {
      this.#againMs = againMs[0];
      return;
    }
    this.#timer = this.#parts.clock.startTimer(this.#againMs, () => this.look());
    this.#againMs = Math.min(this.#againMs * 2, againMs[1]);
  }

  async #giveUp(group: number): Promise<void> {
    const { store, logger } = this.#parts;
    if (!(await this.#isOffered(group))) return;
    this.#kept.delete(group);
    let count = 0;
    while (this.#isAbandoned(group)) {
      const chunks = store.listChunks(group, firstChunkOf(group) - 1, pageChunks).map(({ chunk }) => chunk);
      if (chunks.length === 0) break;
      count += chunks.length;
      await store.delete(chunks);
    }
    if (count > 0) logger.info("a group is elsewhere now, its chunks were given up", { group, chunks: count });
  }

  /** True if the members need it no more, or there is nothing to give. */
  async #isOffered(group: number): Promise<boolean> {
    const { store, clock, logger, former } = this.#parts;
    const isThere = () => this.#isAbandoned(group) && store.listChunks(group, firstChunkOf(group) - 1, 1).length > 0;
    if (!isThere() || (await former.offer(group))) return true;
    const sinceMs = this.#kept.get(group);
    if (sinceMs !== undefined) return clock.nowMs() - sinceMs >= keptMsMax;
    logger.info("a group is elsewhere now, its chunks are kept until it is whole", { group });
    this.#kept.set(group, clock.nowMs());
    return false;
  }

  #isAbandoned(group: number): boolean {
    const { store, storeNumber } = this.#parts;
    const own = storeNumber();
    if (this.#rounds.stopped || own === undefined || store.isGroupChanging(group)) return false;
    const view = store.groups.get(group);
    if (view === undefined || this.#unknown.get(group) === view.generation) return false;
    return view.members.every((member) => member.store !== own);
  }
}
