/** What clients read of the namespace: from applied, and so committed, state. */
import { FileError } from "../errors/file-error.ts";
import type { Attributes, InodeRecord, Mapping } from "../namespace/model.ts";
import type { ListedDirectoryEntry } from "../namespace/namespace.ts";
import { directoryEntriesMax, mappingsPerReply } from "../wire/catalogue/leader.ts";
import type { Holdings } from "./holdings.ts";
import type { Leader } from "./leader.ts";
import type { Session } from "./sessions.ts";
import type { StoreState, Stores } from "./stores.ts";

export class Queries {
  readonly #leader: Leader;
  readonly #holdings: Holdings;
  readonly #stores: Stores;

  constructor(leader: Leader, holdings: Holdings, stores: Stores) {
    this.#leader = leader;
    this.#holdings = holdings;
    this.#stores = stores;
  }

  lookup(session: Session, parent: number, name: string): { attributes: Attributes | undefined } {
    return { attributes: this.#leader.namespace.lookup(session.volume, parent, name) };
  }

  getAttributes(session: Session, inode: number): { attributes: Attributes; parent: number } {
    const { attributes, parent } = this.#inode(session, inode);
    return { attributes, parent };
  }

  readLink(session: Session, inode: number): { target: string } {
    const { attributes, target } = this.#inode(session, inode);
    if (attributes.type !== "symlink") throw new FileError("EINVAL", `inode ${inode} is no symlink`);
    return { target };
  }

  readDirectory(
    session: Session,
    request: { directory: number; after: number; limit: number; withAttributes: boolean },
  ): { entries: ListedDirectoryEntry[] } {
    const { directory, after, withAttributes } = request;
    const limit = Math.min(request.limit, directoryEntriesMax);
    if (limit === 0) return { entries: [] };
    return { entries: this.#leader.namespace.readDirectory(session.volume, directory, after, limit, withAttributes) };
  }

  /** True for an inode without a name that nobody is known to have open. */
  isLostOrphan(session: Session, inode: number): boolean {
    const record = this.#leader.namespace.inode(session.volume, inode);
    return record?.attributes.linkCount === 0 && !this.#holdings.of(session.volume).holds.isHeld(inode);
  }

  /** Holds the inode open. Not an orphan that nobody has open: its reaping may have begun. */
  open(session: Session, inode: number): { attributes: Attributes } {
    const { attributes } = this.#reachableInode(session, inode);
    this.#holdings.of(session.volume).holds.add(session.id, inode);
    return { attributes };
  }

  /** For a lease that was just granted. Errors: ENOENT. */
  leasedInode(session: Session, inode: number): { attributes: Attributes; mappings: Mapping[]; mappedBelow: number } {
    const { attributes } = this.#reachableInode(session, inode);
    return { attributes, ...this.mappings(session, inode, 0) };
  }

  mappings(session: Session, inode: number, from: number): { mappings: Mapping[]; mappedBelow: number } {
    return this.#leader.namespace.mappings(session.volume, inode, from, mappingsPerReply);
  }

  /** Room of the volume's stores, by what they said last, shared by its replicas. */
  statVolume(session: Session): { totalBytes: number; freeBytes: number; inodeCount: number } {
    const { namespace } = this.#leader;
    const volume = namespace.volumes().find((one) => one.volume === session.volume)!;
    const members = new Set<number>();
    for (const group of namespace.groups()) {
      if (group.replicas === volume.replicas) for (const member of group.members) members.add(member.store);
    }
    const heard = this.#stores.all().filter((one) => members.has(one.store) && one.isSeen);
    // A store that has not been heard of since the start counts as the others do.
    const share = heard.length === 0 ? 0 : members.size / heard.length / volume.replicas;
    const sum = (bytes: (store: StoreState) => number): number =>
      Math.floor(heard.reduce((total, store) => total + bytes(store), 0) * share);
    return {
      totalBytes: sum((store) => store.totalBytes),
      freeBytes: sum((store) => store.freeBytes),
      inodeCount: volume.inodeCount,
    };
  }

  #reachableInode(session: Session, inode: number): InodeRecord {
    const record = this.#inode(session, inode);
    if (this.isLostOrphan(session, inode)) throw new FileError("ENOENT", `inode ${inode} was removed`);
    return record;
  }

  #inode(session: Session, inode: number): InodeRecord {
    const record = this.#leader.namespace.inode(session.volume, inode);
    if (record === undefined) throw new FileError("ENOENT", `there is no inode ${inode}`);
    return record;
  }
}
