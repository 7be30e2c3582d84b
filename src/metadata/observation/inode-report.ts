/** What `brine why` asks: everything that the leader knows of an inode, and who waits because of it. */
import { groupOfChunk } from "../../namespace/model.ts";
import { holdersMax, type InodeReport } from "../../wire/catalogue/admin.ts";
import type { Holdings } from "../holdings.ts";
import type { Leader } from "../leader.ts";
import { volumeNamed } from "../named.ts";
import type { Sessions } from "../sessions.ts";
import type { Stores } from "../stores.ts";
import type { ClusterWaits, FoundWait } from "./cluster-waits.ts";
import { inodeAsked, pathText, withAncestors } from "./paths.ts";

/** Mappings read at once. */
const mappingsAtOnce = 4096;
/** A file's groups are known after so many; a terabyte has four times as many. */
const mappingsMax = 65_536;

export interface InodeReportParts {
  readonly leader: Leader;
  readonly sessions: Sessions;
  readonly stores: Stores;
  readonly holdings: Holdings;
  readonly waits: ClusterWaits;
}

export class InodeReports {
  readonly #parts: InodeReportParts;

  constructor(parts: InodeReportParts) {
    this.#parts = parts;
  }

  /** Errors: notFound (no such volume). */
  async explain(request: { volume: string; inode: number; path: string }): Promise<InodeReport> {
    const { namespace } = this.#parts.leader;
    const volume = volumeNamed(namespace, request.volume);
    const { inode, missing } = inodeAsked(namespace, volume, request);
    const { waits, silent } = await this.#parts.waits.read();
    const groups = this.#groups(volume.volume, inode);
    const concerned = withAncestors(namespace, volume.volume, inode);
    const stores = new Set(groups.flatMap(({ members }) => members.map(({ store }) => store)));
    return {
      missing,
      ...this.#attributes(volume.volume, inode),
      ...this.#holders(volume.volume, inode),
      groups,
      waits: waits.filter((wait) => isConcerned(wait, volume.volume, concerned, stores)),
      silent,
    };
  }

  #attributes(volume: number, inode: number): Pick<InodeReport, "inode" | "path" | "type" | "size" | "chunkCount"> {
    const { namespace } = this.#parts.leader;
    const record = namespace.inode(volume, inode);
    if (record === undefined) return { inode, path: "", type: "", size: 0, chunkCount: 0 };
    const { type, size, chunkCount } = record.attributes;
    return { inode, path: pathText(namespace.pathOf(volume, inode)), type, size, chunkCount };
  }

  #holders(volume: number, inode: number): Pick<InodeReport, "leases" | "chunks" | "holds"> {
    const { holdings, leader } = this.#parts;
    const { leases, holds } = holdings.of(volume);
    const nowMs = leader.lifetime.nowMs();
    const holders = leases.holders(inode).slice(0, holdersMax);
    return {
      leases: holders.map(({ session, mode, sinceMs, recalledFor }) => {
        return { session, who: this.#nameOf(session), mode, forMs: Math.round(nowMs - sinceMs), recalledFor };
      }),
      chunks: leases.split
        .holders(inode)
        .slice(0, holdersMax)
        .map(({ index, session, mode, sinceMs }) => {
          return { index, who: this.#nameOf(session), mode, forMs: Math.round(nowMs - sinceMs) };
        }),
      holds: holds
        .holders(inode)
        .slice(0, holdersMax)
        .map((session) => this.#nameOf(session)),
    };
  }

  #groups(volume: number, inode: number): InodeReport["groups"] {
    const { leader, stores } = this.#parts;
    const record = leader.namespace.inode(volume, inode);
    if (record?.attributes.type !== "file" || record.attributes.chunkCount === 0) return [];
    const counts = new Map<number, number>();
    for (let from = 0, seen = 0; seen < mappingsMax; ) {
      const { mappings, mappedBelow } = leader.namespace.mappings(volume, inode, from, mappingsAtOnce);
      for (const { chunk } of mappings) counts.set(groupOfChunk(chunk), (counts.get(groupOfChunk(chunk)) ?? 0) + 1);
      seen += mappings.length;
      from = mappedBelow;
      if (mappings.length < mappingsAtOnce) break;
    }
    return leader.namespace
      .groups()
      .filter(({ group }) => counts.has(group))
      .map(({ group, generation, members }) => ({
        group,
        generation,
        chunks: counts.get(group)!,
        members: members.map(({ store, state }) => {
          return { store, state, address: stores.get(store)?.address ?? "", condition: stores.condition(store) };
        }),
      }));
  }

  #nameOf(session: number): string {
    return `${this.#parts.sessions.get(session)?.host ?? "?"} (session ${session})`;
  }
}

/** Waits about the inode or a directory above it; those of the leader as a whole, and of stores that have its data. */
function isConcerned(
  wait: FoundWait,
  volume: number,
  inodes: ReadonlySet<number>,
  stores: ReadonlySet<number>,
): boolean {
  if (wait.role === "leader") return wait.inode === 0;
  if (wait.role === "store") return stores.has(wait.store);
  if (wait.volumeNumber !== volume) return false;
  return inodes.has(wait.inode) || inodes.has(wait.leaseInode);
}
