/** What the leader has to do with rot: it orders scrubs, says which differences are safe to heal, and whose bytes are bad. */
import { BrineError } from "../errors/brine-error.ts";
import { blockBytes, groupOfChunk } from "../namespace/model.ts";
import type { BadFileRange } from "../wire/catalogue/admin.ts";
import { scrubStore } from "../wire/catalogue/store.ts";
import type { Leader } from "./leader.ts";
import { volumeNamed } from "./named.ts";
import { fileOfChunk } from "./observation/paths.ts";
import type { Stores } from "./stores.ts";

const answerMs = 10_000;
/** In one status. */
const rangesMax = 1024;

export class Scrubs {
  readonly #leader: Leader;
  readonly #stores: Stores;

  constructor(leader: Leader, stores: Stores) {
    this.#leader = leader;
    this.#stores = stores;
  }

  /** Errors: notFound, unreachable (a store that was named, or all). */
  async order({ store: name, volume: volumeName }: { store: string; volume: string }): Promise<{ stores: number[] }> {
    const { namespace, log } = this.#leader;
    const volume = volumeName === "" ? undefined : volumeNamed(namespace, volumeName);
    const all = this.#stores
      .all()
      .filter(({ store, address }) => name === "" || String(store) === name || address === name);
    if (all.length === 0) {
      throw new BrineError("notFound", `there is no store "${name}"`, { advice: 'see "brine store list"' });
    }
    const begun: number[] = [];
    for (const { store } of all) {
      const groups = namespace
        .groups()
        .filter((group) => volume === undefined || group.volume === volume.volume)
        .filter(({ members }) => members.some((member) => member.store === store))
        .map(({ group }) => group);
      const peer = this.#stores.peer(store);
      if (peer === undefined || groups.length === 0) continue;
      await peer.request(scrubStore, { groups: volume === undefined ? [] : groups }, { timeoutMs: answerMs });
      begun.push(store);
    }
    if (begun.length === 0) {
      const what = name === "" ? "no store that has anything of it" : `store ${name}`;
      throw new BrineError("unreachable", `${what} is online`, { advice: 'see "brine status"' });
    }
    log.info("scrub ordered", { stores: begun.join(","), volume: volumeName });
    return { stores: begun };
  }

  /** See the catalogue. */
  judge({ chunks, sessions }: { chunks: readonly number[]; sessions: readonly number[] }): {
    mapped: boolean[];
    over: boolean[];
  } {
    const { namespace } = this.#leader;
    return {
      mapped: chunks.map((chunk) => namespace.chunkOwner(chunk) !== undefined),
      // The end of a session is committed when the members are equal (ending.ts).
      over: sessions.map((session) => session < namespace.sessionsBelow && namespace.session(session) === undefined),
    };
  }

  /** Bytes of files that are bad on members in sync now. */
  badRanges(): BadFileRange[] {
    const { namespace } = this.#leader;
    const groups = new Map(namespace.groups().map((group) => [group.group, group]));
    /** By chunk: what members say of their copies. */
    const bad = new Map<number, StoreRange[]>();
    for (const { store, badRanges } of this.#stores.all()) {
      for (const { chunk, firstBlock, blockCount } of badRanges) {
        const member = groups.get(groupOfChunk(chunk))?.members.find((one) => one.store === store);
        if (member?.state !== "inSync") continue;
        const said = bad.get(chunk) ?? [];
        bad.set(chunk, said);
        said.push({ store, from: firstBlock, to: firstBlock + blockCount });
      }
    }
    const ranges: BadFileRange[] = [];
    for (const [chunk, said] of bad) {
      const file = fileOfChunk(namespace, chunk);
      if (file === undefined) continue;
      const members = groups.get(groupOfChunk(chunk))!.members.filter(({ state }) => state === "inSync");
      for (const { from, to, stores } of together(said)) {
        if (ranges.length === rangesMax) return ranges;
        const [offset, length] = [file.offset + from * blockBytes, (to - from) * blockBytes];
        const isLost = members.every(({ store }) => stores.includes(store));
        ranges.push({ ...file, offset, length, chunk, stores, isLost });
      }
    }
    return ranges;
  }
}

/** Blocks [from, to) of a chunk. */
interface StoreRange {
  readonly store: number;
  readonly from: number;
  readonly to: number;
}

/** The ranges in order, cut so that in each the same stores are bad. */
function together(said: readonly StoreRange[]): { from: number; to: number; stores: number[] }[] {
  const edges = [...new Set(said.flatMap(({ from, to }) => [from, to]))].sort((left, right) => left - right);
  const ranges: { from: number; to: number; stores: number[] }[] = [];
  for (const [index, to] of edges.slice(1).entries()) {
    const from = edges[index]!;
    const stores = said.filter((one) => one.from <= from && to <= one.to).map(({ store }) => store);
    if (stores.length === 0) continue;
    const last = ranges.at(-1);
    if (last?.to === from && last.stores.join() === stores.join()) last.to = to;
    else ranges.push({ from, to, stores });
  }
  return ranges;
}
