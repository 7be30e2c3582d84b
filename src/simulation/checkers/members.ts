/**
 * At rest, all members of a group that are in sync hold the same: the same chunks, in each the same blocks with the same
 * versions and checksums, and data that fits the checksums.
 */
import { blocksPerChunk } from "../../namespace/model.ts";
import type { Platform } from "../../platform/platform.ts";
import type { ClusterStatus } from "../../wire/catalogue/admin.ts";
import { type Extent, listChunks, listExtents, readBlocks } from "../../wire/catalogue/store.ts";
import { verifyBlocks } from "../../wire/checksum.ts";
import { connectPeer } from "../../wire/connect.ts";
import type { Peer } from "../../wire/peer.ts";
import { Service } from "../../wire/service.ts";
import { Violation } from "./violation.ts";

const timeoutMs = 30_000;
const chunksPerRequest = 1_000;
const blockBytes = 4096;

type Group = ClusterStatus["groups"][number];

/** Throws Violation where members differ. Returns the number of chunks that were compared. */
export async function checkMembersEqual(platform: Platform, status: ClusterStatus): Promise<number> {
  const peers = new Map<number, Peer>();
  for (const { store, address } of status.servers) {
    if (store === 0) continue;
    const identity = { role: "store" as const, clusterId: status.clusterId, peerId: "", description: "checker" };
    peers.set(store, await connectPeer(platform, address, identity, new Service(), timeoutMs));
  }
  let chunkCount = 0;
  for (const group of status.groups) chunkCount += await checkGroup(group, peers);
  for (const peer of peers.values()) peer.close("checked");
  return chunkCount;
}

async function checkGroup(group: Group, peers: ReadonlyMap<number, Peer>): Promise<number> {
  const members = group.members.filter(({ state }) => state === "inSync").map(({ store }) => store);
  const [first, ...others] = members;
  if (first === undefined) return 0;
  const expected = await chunksOf(group, peers.get(first)!);
  for (const chunk of expected) {
    const extents = await contentOf(group, chunk, peers.get(first)!, first);
    for (const other of others) {
      const differing = await contentOf(group, chunk, peers.get(other)!, other);
      if (differing === extents) continue;
      throw new Violation(
        "in-sync members are equal",
        `chunk ${chunk} of group ${group.group}\n  on store ${first}: ${extents}\n  on store ${other}: ${differing}`,
      );
    }
  }
  for (const other of others) {
    const chunks = await chunksOf(group, peers.get(other)!);
    if (chunks.join() === expected.join()) continue;
    throw new Violation(
      "in-sync members are equal",
      `group ${group.group} has the chunks ${expected} on store ${first}, ${chunks} on store ${other}`,
    );
  }
  return expected.length;
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

/** Versions and checksums of all blocks as a text, block by block: extents may be cut differently. Checks the data. */
async function contentOf({ group, generation }: Group, chunk: number, peer: Peer, store: number): Promise<string> {
  const known = await peer.request(listExtents, { group, generation, chunk }, { timeoutMs });
  for (let firstBlock = 0; firstBlock < blocksPerChunk; firstBlock += 256) {
    const target = { session: 0, group, generation, chunk, firstBlock, blockCount: 256 };
    const { body, payload } = await peer.request(readBlocks, target, { timeoutMs });
    let at = 0;
    for (const extent of body.extents) {
      const data = payload.subarray(at, at + extent.checksums.length * blockBytes);
      at += data.byteLength;
      const bad = verifyBlocks(data, extent.origin, extent.firstBlock, extent.version, extent.checksums);
      if (bad < 0) continue;
      throw new Violation("no wrong bytes", `block ${extent.firstBlock + bad} of chunk ${chunk} on store ${store}`);
    }
  }
  return describe(known.body.extents);
}

function describe(extents: readonly Extent[]): string {
  const runs: string[] = [];
  const sorted = [...extents].sort((left, right) => left.firstBlock - right.firstBlock);
  for (const { firstBlock, version, origin, checksums } of sorted) {
    for (const [index, checksum] of checksums.entries()) {
      runs.push(`${firstBlock + index}=${version.grant}.${version.sequence}/${origin}/${checksum.toString(16)}`);
    }
  }
  return runs.join(" ");
}
