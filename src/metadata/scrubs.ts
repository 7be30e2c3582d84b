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
    /** By chunk and block: the members whose copy is bad. */
    const bad = new Map<number, Map<number, number[]>>();
    for (const { store, badRanges } of this.#stores.all()) {
      for (const { chunk, firstBlock, blockCount } of badRanges) {
        const member = groups.get(groupOfChunk(chunk))?.members.find((one) => one.store === store);
        if (member?.state !== "inSync") continue;
        const blocks = bad.get(chunk) ?? new Map<number, number[]>();
        bad.set(chunk, blocks);
        for (let block = firstBlock; block < firstBlock + blockCount; block++) {
          blocks.set(block, [...(blocks.get(block) ?? []), store]);
        }
      }
    }
    const ranges: BadFileRange[] = [];
    for (const [chunk, blocks] of bad) {
      const file = fileOfChunk(namespace, chunk);
      if (file === undefined) continue;
      const members = groups.get(groupOfChunk(chunk))!.members.filter(({ state }) => state === "inSync");
      let last: BadFileRange | undefined;
      for (const [block, stores] of [...blocks].sort(([left], [right]) => left - right)) {
        const offset = file.offset + block * blockBytes;
        const isLost = members.every(({ store }) => stores.includes(store));
        if (last !== undefined && last.offset + last.length === offset && last.stores.join() === stores.join()) {
          last.length += blockBytes;
          continue;
        }
        if (ranges.length === rangesMax) return ranges;
        last = { ...file, offset, length: blockBytes, chunk, stores, isLost };
        ranges.push(last);
      }
    }
    return ranges;
  }
}
