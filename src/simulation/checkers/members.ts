/**
 * At rest, all members of a group that are in sync hold the same content, and all of it fits its checksums. Versions may differ: a write that was taken back because a disk was full leaves the old content under
 * a new version where it had arrived (src/client/block-writer.ts).
 */
import { crc32c } from "@node-rs/crc32";
import { isTransient } from "../../client/retry.ts";
import { hasCode } from "../../errors/brine-error.ts";
import { blockBytes, blocksPerChunk } from "../../namespace/model.ts";
import type { Platform } from "../../platform/platform.ts";
import type { ClusterStatus } from "../../wire/catalogue/admin.ts";
import { listChunks, readBlocks } from "../../wire/catalogue/store.ts";
import { verifyBlocks } from "../../wire/checksum.ts";
import { connectPeer } from "../../wire/connect.ts";
import type { Peer } from "../../wire/peer.ts";
import { Service } from "../../wire/service.ts";
import { Violation } from "./violation.ts";

/** Members that are not equal after so many looks never will be. */
const comparisonsMax = 20;
const timeoutMs = 30_000;
const chunksPerRequest = 1_000;
const blocksPerRequest = 256;
const zerosChecksum = crc32c(Buffer.alloc(blockBytes));

type Group = ClusterStatus["groups"][number];

/** Of each chunk that is anywhere, the members in sync that have it, and those that should. */
export type ChunkPlaces = Map<number, { readonly having: number[]; readonly members: readonly number[] }>;

/** Looks until they are. Throws Violation if they never will be. */
export async function whenMembersEqual(
  platform: Platform,
  status: () => Promise<ClusterStatus>,
  wait: () => Promise<void>,
): Promise<ChunkPlaces> {
  for (let left = comparisonsMax; ; left--) {
    try {
      return await checkMembersEqual(platform, await status());
    } catch (error) {
      // A store that has just started may not be serving yet; what nobody needs any more is still being deleted.
      const passing = isTransient(error) || hasCode(error, "unknownChunk", "wrongGeneration");
      if (!passing && (!(error instanceof Violation) || left === 0)) throw error;
      await wait();
    }
  }
}

/** Throws Violation where members that have a chunk differ in it. */
async function checkMembersEqual(platform: Platform, status: ClusterStatus): Promise<ChunkPlaces> {
  const peers = new Map<number, Peer>();
  for (const { store, address } of status.servers) {
    if (store === 0) continue;
    const identity = { role: "store" as const, clusterId: status.clusterId, peerId: "", description: "checker" };
    peers.set(store, await connectPeer(platform, address, identity, new Service(), timeoutMs));
  }
  const places: ChunkPlaces = new Map();
  for (const group of status.groups) await checkGroup(group, peers, places);
  for (const peer of peers.values()) peer.close("checked");
  return places;
}

async function checkGroup(group: Group, peers: ReadonlyMap<number, Peer>, places: ChunkPlaces): Promise<void> {
  const members = group.members.filter(({ state }) => state === "inSync").map(({ store }) => store);
  const lists = new Map<number, Set<number>>();
  for (const store of members) lists.set(store, new Set(await chunksOf(group, peers.get(store)!)));
  const all = [...new Set([...lists.values()].flatMap((list) => [...list]))].sort((left, right) => left - right);
  for (const chunk of all) {
    const having = members.filter((store) => lists.get(store)!.has(chunk));
    places.set(chunk, { having, members });
    const contents: number[][] = [];
    for (const store of having) contents.push(await contentOf(group, chunk, peers.get(store)!, store));
    for (const [index, content] of contents.entries()) {
      if (content.join() === contents[0]!.join()) continue;
      const block = content.findIndex((checksum, at) => checksum !== contents[0]![at]);
      throw new Violation(
        "in-sync members are equal",
        `block ${block} of chunk ${chunk} differs between the stores ${having[0]} and ${having[index]}`,
      );
    }
  }
}

async function chunksOf({ group, generation }: Group, peer: Peer): Promise<number[]> {
  const chunks: number[] = [];
  for (let after = 0; ; after = chunks.at(-1)!) {
    const { body } = await peer.request(
      listChunks,
      { group, generation, after, limit: chunksPerRequest },
      { timeoutMs },
    );
    for (const { chunk } of body.chunks) chunks.push(chunk);
    if (body.chunks.length < chunksPerRequest) return chunks;
  }
}

/** A checksum of each block, holes as zeros. Checks the data against the writers' checksums. */
async function contentOf({ group, generation }: Group, chunk: number, peer: Peer, store: number): Promise<number[]> {
  const content = new Array<number>(blocksPerChunk).fill(zerosChecksum);
  for (let from = 0; from < blocksPerChunk; from += blocksPerRequest) {
    const target = { session: 0, group, generation, chunk, firstBlock: from, blockCount: blocksPerRequest };
    const { body, payload } = await peer.request(readBlocks, target, { timeoutMs });
    let at = 0;
    for (const { firstBlock, checksums, origin, version } of body.extents) {
      const data = payload.subarray(at, at + checksums.length * blockBytes);
      at += data.byteLength;
      const bad = verifyBlocks(data, origin, firstBlock, version, checksums);
      if (bad >= 0)
        throw new Violation("no wrong bytes", `block ${firstBlock + bad} of chunk ${chunk}, store ${store}`);
      for (let index = 0; index < checksums.length; index++) {
        content[firstBlock + index] = crc32c(data.subarray(index * blockBytes, (index + 1) * blockBytes));
      }
    }
  }
  return content;
}
