/** What clients ask of the volume as a whole. */
import type { QuotaRecord, VolumeRecord } from "../namespace/model.ts";
import type { Leader } from "./leader.ts";
import type { Session } from "./sessions.ts";
import type { StoreState, Stores } from "./stores.ts";

export interface VolumeSpace {
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly inodeCount: number;
  /** Undefined: as many as there are numbers. */
  readonly freeInodes: number | undefined;
}

export class Queries {
  readonly #leader: Leader;
  readonly #stores: Stores;

  constructor(leader: Leader, stores: Stores) {
    this.#leader = leader;
    this.#stores = stores;
  }

  /**
   * Room of the volume's stores, by what they said last, shared by its replicas; of a quota, where there is less: the volume's, and that
   * of the directory in which the inode is. Grants that aren't used are free.
   */
  statVolume(session: Session, inode: number): VolumeSpace {
    const { namespace } = this.#leader;
    const volume = namespace.volume(session.volume)!;
    const tree = namespace.inode(volume.volume, inode)?.tree ?? 0;
    const quotas = [namespace.quota(volume.volume, { kind: "volume", id: 0 })];
    if (tree !== 0) quotas.push(namespace.quota(volume.volume, { kind: "tree", id: tree }));
    const disks = { ...this.#diskSpace(volume), inodeCount: volume.inodeCount, freeInodes: undefined };
    return quotas.reduce<VolumeSpace>((space, quota) => (quota === undefined ? space : within(space, quota)), disks);
  }

  #diskSpace(volume: VolumeRecord): { totalBytes: number; freeBytes: number } {
    const { namespace } = this.#leader;
    const members = new Set<number>();
    for (const group of namespace.groups()) {
      if (group.volume === volume.volume) for (const member of group.members) members.add(member.store);
    }
    const heard = this.#stores.all().filter((one) => members.has(one.store) && one.isSeen);
    const copies = Math.min(volume.replicas, members.size);
    const room = (bytesOf: (store: StoreState) => number): number => {
      const disks = heard.map(bytesOf);
      // A store that has not been heard of since the start counts as the others do.
      const average = disks.reduce((sum, bytes) => sum + bytes, 0) / Math.max(1, heard.length);
      while (disks.length < members.size) disks.push(average);
      return Math.floor(roomFor(copies, disks));
    };
    return { totalBytes: room((store) => store.totalBytes), freeBytes: room((store) => store.freeBytes) };
  }
}

/** Bytes of which so many copies fit on disks with this room, no two of them on the same disk. */
export function roomFor(copies: number, disks: readonly number[]): number {
  const largestFirst = [...disks].sort((left, right) => right - left);
  let total = disks.reduce((sum, bytes) => sum + bytes, 0);
  let copiesLeft = copies;
  for (const bytes of largestFirst) {
    // All can be filled, unless this one is so large that it has one copy of everything and the others too little for the rest.
    if (bytes * copiesLeft <= total) break;
    total -= bytes;
    copiesLeft -= 1;
  }
  return copiesLeft === 0 ? 0 : total / copiesLeft;
}

/** What is there by a quota's limits: never more than without. */
function within(space: VolumeSpace, { limits, bytes, inodes }: QuotaRecord): VolumeSpace {
  const leftBytes = limits.bytes === undefined ? undefined : Math.max(0, limits.bytes - bytes);
  const leftInodes = limits.inodes === undefined ? undefined : Math.max(0, limits.inodes - inodes);
  return {
    totalBytes: limits.bytes === undefined ? space.totalBytes : Math.min(space.totalBytes, limits.bytes),
    freeBytes: Math.min(space.freeBytes, leftBytes ?? space.freeBytes),
    inodeCount: leftInodes === undefined ? space.inodeCount : inodes,
    freeInodes: leftInodes === undefined ? space.freeInodes : Math.min(leftInodes, space.freeInodes ?? leftInodes),
  };
}
