/**
 * Namespace against stores, for `brine check`: chunks that files map and a member doesn't have, and chunks on members that
 * nothing refers to. Both are looked for while everything goes on, so each finding is made twice:
 *
 * 1. The members in sync list their chunks of a part of the group.
 * 2. In one moment after that, the namespace is asked. A chunk is known to it if it is mapped, to be deleted, or granted and not
 *    used yet; ids are never used again, so one that is unknown stays so.
 * 3. What doesn't fit may have been written or deleted since the list was made. The member is asked for that chunk alone, and
 *    then the namespace again: only what still doesn't fit counts.
 *
 * Repair deletes what nothing refers to. A chunk that is missing can't be repaired here.
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import type { GroupRecord } from "../namespace/model.ts";
import type { MissingChunk } from "../wire/catalogue/admin.ts";
import { checkedChunksMax } from "../wire/catalogue/admin.ts";
import { deleteChunks, listChunks, listExtents } from "../wire/catalogue/store.ts";
import type { Peer } from "../wire/peer.ts";
import type { Leader } from "./leader.ts";
import { fileOfChunk } from "./observation/paths.ts";
import type { Stores } from "./stores.ts";

const answerMs = 10_000;

export interface CheckRequest {
  readonly group: number;
  readonly after: number;
  readonly repair: boolean;
}

export interface CheckedPart {
  /** Chunks up to this one were checked. */
  readonly upTo: number;
  readonly done: boolean;
  readonly mapped: number;
  readonly orphaned: number;
  readonly removed: number;
  readonly missing: MissingChunk[];
  /** Stores that are members, but could not be asked. */
  readonly unasked: number[];
}

interface Member {
  readonly store: number;
  readonly peer: Peer;
  readonly chunks: ReadonlySet<number>;
}

export class ChunkCheck {
  readonly #leader: Leader;
  readonly #stores: Stores;

  constructor(leader: Leader, stores: Stores) {
    this.#leader = leader;
    this.#stores = stores;
  }

  /** Checks the next part of a group. Errors: notFound, busy (the group is changing: ask again), and those of stores. */
  async part({ group: number, after, repair }: CheckRequest): Promise<CheckedPart> {
    const { namespace } = this.#leader;
    const group = namespace.groups().find((one) => one.group === number);
    if (group === undefined) throw new BrineError("notFound", `there is no group ${number}`);
    const { members, listedTo, unasked } = await this.#list(group, after);
    const mapped = namespace.mappedChunks(number, after, checkedChunksMax);
    const mappedTo = mapped.length < checkedChunksMax ? Number.MAX_SAFE_INTEGER : mapped.at(-1)!;
    const { missing, upTo } = await this.#missing(group, members, mapped, Math.min(listedTo, mappedTo));
    let [orphaned, removed] = [0, 0];
    for (const member of members) {
      const orphans: number[] = [];
      for (const chunk of member.chunks) {
        if (chunk > upTo || namespace.isChunkKnown(chunk)) continue;
        if (await this.#has(member, group, chunk)) orphans.push(chunk);
      }
      orphaned += orphans.length;
      if (!repair || orphans.length === 0) continue;
      await member.peer.request(deleteChunks, { chunks: orphans }, { timeoutMs: this.#leader.timeouts.deleteChunksMs });
      removed += orphans.length;
      this.#leader.log.info("chunks removed that nothing refers to", { store: member.store, chunks: orphans.length });
    }
    const done = upTo === Number.MAX_SAFE_INTEGER;
    return {
      upTo,
      done,
      mapped: mapped.filter((chunk) => chunk <= upTo).length,
      orphaned,
      removed,
      missing,
      unasked,
    };
  }

  /** Mapped chunks that members don't have. Where there are too many for one answer, the part ends earlier. */
  async #missing(
    group: GroupRecord,
    members: readonly Member[],
    mapped: readonly number[],
    upTo: number,
  ): Promise<{ missing: MissingChunk[]; upTo: number }> {
    const missing: MissingChunk[] = [];
    const byNumber = members.toSorted((left, right) => left.store - right.store);
    for (const chunk of mapped) {
      if (chunk > upTo) break;
      for (const member of byNumber) {
        if (member.chunks.has(chunk) || (await this.#has(member, group, chunk))) continue;
        this.#mustBeUnchanged(group);
        const file = fileOfChunk(this.#leader.namespace, chunk);
        if (file !== undefined) missing.push({ chunk, store: member.store, ...file });
      }
      if (missing.length + members.length > checkedChunksMax) return { missing, upTo: chunk };
    }
    return { missing, upTo };
  }

  /** What the members in sync have above `after`, up to where all lists speak. */
  async #list(
    { group, generation, members }: GroupRecord,
    after: number,
  ): Promise<{ members: Member[]; listedTo: number; unasked: number[] }> {
    const found: Member[] = [];
    const unasked: number[] = [];
    let listedTo = Number.MAX_SAFE_INTEGER;
    for (const { store, state } of members) {
      const peer = this.#stores.peer(store);
      if (state !== "inSync" || peer === undefined) {
        unasked.push(store);
        continue;
      }
      const request = { group, generation, after, limit: checkedChunksMax };
      const { body } = await peer.request(listChunks, request, { timeoutMs: answerMs }).catch(changing);
      const chunks = body.chunks.map(({ chunk }) => chunk);
      // A store may answer with fewer than it was asked for: only an empty list is the end.
      listedTo = Math.min(listedTo, chunks.at(-1) ?? Number.MAX_SAFE_INTEGER);
      found.push({ store, peer, chunks: new Set(chunks) });
    }
    return { members: found, listedTo, unasked };
  }

  async #has({ peer }: Member, { group, generation }: GroupRecord, chunk: number): Promise<boolean> {
    try {
      await peer.request(listExtents, { group, generation, chunk }, { timeoutMs: answerMs }).catch(changing);
      return true;
    } catch (error) {
      if (hasCode(error, "unknownChunk")) return false;
      throw error;
    }
  }

  /** A store that has just left the group may not know it yet, and misses what is written without it. Error: busy. */
  #mustBeUnchanged({ group, generation }: GroupRecord): void {
    const now = this.#leader.namespace.groups().find((one) => one.group === group);
    if (now?.generation !== generation) throw new BrineError("busy", `group ${group} has changed meanwhile`);
  }
}

/** A group that got another generation is asked for again. */
function changing(error: unknown): never {
  if (!hasCode(error, "wrongGeneration", "notServing", "closed")) throw error;
  throw new BrineError("busy", `the group's members are changing: ${error.message}`, { cause: error });
}
