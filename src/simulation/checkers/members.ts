/**
 * At rest, all members of a group that are in sync hold the same: the same chunks with the same content, and all of it
 * fits its checksums. Versions may differ: a write that was taken back because a disk was full leaves the old content under
 * a new version where it had arrived (src/client/block-writer.ts).
 */
import { crc32c } from "@node-rs/crc32";
import { blockBytes, blocksPerChunk } from "../../namespace/model.ts";
import type { Platform } from "../../platform/platform.ts";
import type { ClusterStatus } from "../../wire/catalogue/admin.ts";
import { listChunks, readBlocks } from "../../wire/catalogue/store.ts";
import { verifyBlocks } from "../../wire/checksum.ts";
import { connectPeer } from "../../wire/connect.ts";
import type { Peer } from "../../wire/peer.ts";
import { Service } from "../../wire/service.ts";
import { Violation } from "./violation.ts";

const timeoutMs = 30_000;
const chunksPerRequest = 1_000;
const blocksPerRequest = 256;
const zerosChecksum = crc32c(Buffer.alloc(blockBytes));

type Group = ClusterStatus["groups"][number];

/**
 * Throws Violation where members differ. `sameChunks`: also where one has a chunk that another hasn't; while sessions
 * are open, chunks that they have not mapped may be on some members only. Returns the number of chunks compared.
 */
export async function checkMembersEqual(
  platform: Platform,
  status: ClusterStatus,
  sameChunks: boolean,
): Promise<number> {
  const peers = new Map<number, Peer>();
  for (const { store, address } of status.servers) {
    if (store === 0) continue;
    const identity = { role: "store" as const, clusterId: status.clusterId, peerId: "", description: "checker" };
    peers.set(store, await connectPeer(platform, address, identity, new Service(), timeoutMs));
  }
  let chunkCount = 0;
  for (const group of status.groups) chunkCount += await checkGroup(group, peers, sameChunks);
  for (const peer of peers.values()) peer.close("checked");
  return chunkCount;
}

async function checkGroup(group: Group, peers: ReadonlyMap<number, Peer>, sameChunks: boolean): Promise<number> {
  const members = group.members.filter(({ state }) => state === "inSync").map(({ store }) => store);
  const lists = new Map<number, Set<number>>();
  for (const store of members) lists.set(store, new Set(await chunksOf(group, peers.get(store)!)));
  const all = [...new Set([...lists.values()].flatMap((list) => [...list]))].sort((left, right) => left - right);
  for (const chunk of all) {
    const having = members.filter((store) => lists.get(store)!.has(chunk));
    const where = `chunk ${chunk} of group ${group.group}`;
    if (sameChunks && having.length < members.length) {
      throw new Violation("in-sync members are equal", `${where} is on the stores ${having} only, of ${members}`);
    }
    const contents: number[][] = [];
    for (const store of having) contents.push(await contentOf(group, chunk, peers.get(store)!, store));
    for (const [index, content] of contents.entries()) {
      if (content.join() === contents[0]!.join()) continue;
      const block = content.findIndex((checksum, at) => checksum !== contents[0]![at]);
      throw new Violation(
        "in-sync members are equal",
        `block ${block} of ${where} differs between the stores ${having[0]} and ${having[index]}`,
      );
    }
  }
  return all.length;
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
