/**
 * An inode as this client has it: its lease, its record under that lease with the client's own uncommitted changes in it,
 * and what hangs on it (the names in a directory, the content of a file).
 *
 *                   wanted                  granted                     leaving, and nobody uses it
 *       (no lease) ────────► asking ──────────────────► held ─────────────────────────► giving back ──► (no lease)
 *                              ▲   (the shared lease may    │  everything under it is durable at the leader
 *                              │    be held meanwhile)      │  and the stores, then the kernel forgets, then the
 *                              └────────────────────────────┘  leader is told
 *                                 the exclusive one wanted
 *
 * leases.ts moves it through these states; nobody else changes `mode`, `grant` and `uses`.
 */
import type { InodeRecord } from "../namespace/model.ts";
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import type { FileContent, KnownMap } from "./content/file-content.ts";
import type { DirectoryNames } from "./directory-names.ts";
import { DirectoryUse } from "./directory-use.ts";

export class Node {
  readonly inode: number;
  /** For a chunk of a split file, whose `inode` is its number: the file's node. See split-data.ts. */
  readonly file: Node | undefined;
  /** Valid while `mode` is not undefined. Replaced by a changed copy, never changed itself. */
  record: InodeRecord;
  /** What the leader has granted; undefined: nothing. */
  mode: LeaseMode | undefined;
  /** Names the lease. 0 without one. */
  grant = 0;
  /**
   * The upper part of the versions that are written under an exclusive lease: its grant; or of what was copied here, if that was
   * written under a later one (content/clones.ts). Never less than that of any block that is there.
   */
  versionGrant = 0;
  /** Names that are known; for a directory under a lease. */
  names: DirectoryNames | undefined;
  /** For a file under a lease: its chunk map, as it came, until `content` is made of it. */
  map: KnownMap | undefined;
  /** For a file under a lease, from its first use on. */
  content: FileContent | undefined;
  /** Open handles here: they outlive leases. */
  handles = 0;
  /** The leader has a hold for the handles, from a release of the lease while there were some. */
  isHeldAtLeader = false;
  /** The last journal entry that changes it, and the one before; 0: none. */
  lastPosition = 0;
  previousPosition = 0;
  /** The last one that changes more than bytes which were there, and times: fdatasync(2) and later overwrites wait for it. */
  dataSyncPosition = 0;
  /** The exclusive lease came before anybody wanted it, and was not used yet: see leases-ahead.ts. */
  isAhead = false;
  /** Operations that rely on the lease right now. */
  uses = 0;
  /** The lease is going, or going down to shared: nobody new relies on it. */
  leaving: "entirely" | "toShared" | undefined;
  /** Since when. */
  leavingSinceMs = 0;
  /** While the lease is leaving: requests for data are served, because the kernel's pages may wait for them. */
  servesData = false;
  /**
   * The leader decides, or has decided, something that changes it: nobody relies on the record any more, not even who has
   * it pinned, until the lease has gone and come again.
   */
  isBlocked = false;
  /** The kernel was allowed to keep names of this directory, or its attributes, under the present lease. */
  kernelHasNames = false;
  kernelHasAttributes = false;
  /** Others have advisory locks on it, or want some: also under an exclusive lease they are set at the leader. */
  hasLocksElsewhere = false;
  /** The leader said last, when it was asked for a lock, that no other client is concerned with the inode. */
  isAloneInLocking = false;
  /** Used since the last look at what is idle. */
  isRecent = false;
  /** Errors of write-back, for fsync and close: those that a handle has not seen yet are the ones above its own count. */
  errorCount = 0;
  lastUsedMs = 0;
  /** A page of the directory's names is being asked for. */
  loading: Promise<void> | undefined;
  /** Made when it is needed: few of very many nodes are directories that somebody goes through. */
  #use: DirectoryUse | undefined;

  constructor(inode: number, record: InodeRecord, file?: Node) {
    this.inode = inode;
    this.file = file;
    this.record = record;
  }

  /** Of a directory. */
  get use(): DirectoryUse {
    this.#use ??= new DirectoryUse();
    return this.#use;
  }

  /** The journal has put a change of it into its entry at `position`, the last one. */
  changed(position: number, onlyOverwrites: boolean): void {
    if (position > this.lastPosition) {
      this.previousPosition = this.lastPosition;
      this.lastPosition = position;
    }
    if (!onlyOverwrites) this.dataSyncPosition = position;
  }

  /**
   * The last entry before the change in the last one, which `changed` was told of, on which the change depends: overwrites don't on
   * those before them.
   */
  get dependsOn(): number {
    return this.dataSyncPosition === this.lastPosition ? this.previousPosition : this.dataSyncPosition;
  }

  /** The one thing that others may have changed under our shared lease: see access-times.ts. */
  takeAccessTime({ attributes: { atimeNs } }: InodeRecord): void {
    const { attributes } = this.record;
    if (atimeNs > attributes.atimeNs) this.record = { ...this.record, attributes: { ...attributes, atimeNs } };
  }
}
