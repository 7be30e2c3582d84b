/**
 * Gives up what this store has of groups that go on without it: they were rebuilt elsewhere while it was away, or moved.
 *
 * Only the leader's word is enough: a view of the group in a later generation, without this store. That a group is merely
 * not among its own says nothing: so it looks to a store whose cluster has lost its metadata.
 *
 * The store may be taken into the group again meanwhile. What it has then must stay, so each page of chunks is listed and its
 * deletion appended to the log in one turn, before the new view can be.
 */
import { hasCode } from "../errors/brine-error.ts";
import { firstChunkOf } from "../namespace/model.ts";
import type { Logger } from "../platform/logger.ts";
import type { Store } from "./store.ts";

/** A record of the log; others are not kept waiting by it. */
const pageChunks = 1024;

export interface AbandonedGroupsParts {
  readonly store: Store;
  readonly logger: Logger;
  readonly storeNumber: () => number | undefined;
}

export class AbandonedGroups {
  readonly #parts: AbandonedGroupsParts;
  #mustLook = false;
  #running: Promise<void> | undefined;
  #stopped = false;

  constructor(parts: AbandonedGroupsParts) {
    this.#parts = parts;
  }

  /** Groups may have gone on without this store. */
  look(): void {
    this.#mustLook = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  /** Never rejects: what is left is given up after the next registration. */
  async #run(): Promise<void> {
    const { store, logger } = this.#parts;
    try {
      while (this.#mustLook && !this.#stopped) {
        this.#mustLook = false;
        for (const group of [...store.groups.keys()]) await this.#giveUp(group);
      }
    } catch (error) {
      if (!hasCode(error, "noSpace", "diskFailed", "notServing")) throw error;
      logger.warn("copies of groups that are elsewhere now could not be given up yet", { reason: error.message });
    }
  }

  async #giveUp(group: number): Promise<void> {
    const { store, logger } = this.#parts;
    let count = 0;
    while (this.#isAbandoned(group)) {
      const chunks = store.listChunks(group, firstChunkOf(group) - 1, pageChunks).map(({ chunk }) => chunk);
      if (chunks.length === 0) break;
      count += chunks.length;
      await store.delete(chunks);
    }
    if (count > 0) logger.info("a group is elsewhere now, its chunks were given up", { group, chunks: count });
  }

  #isAbandoned(group: number): boolean {
    const { store, storeNumber } = this.#parts;
    const own = storeNumber();
    if (this.#stopped || own === undefined || store.isGroupChanging(group)) return false;
    return store.groups.get(group)?.members.every((member) => member.store !== own) === true;
  }
}
