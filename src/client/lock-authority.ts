/**
 * Who decides about the advisory locks on a file: this mount by itself, or the leader.
 *
 * The mount does under an exclusive lease, unless others have locks on the file or want some (the leader says so with the
 * lease): then a lock costs no request. It ends like this:
 *
 *     the lease is recalled           before it goes the leader is told of all locks on the file; who waits here for one
 *                                     waits there then
 *     a wait, while the leader        a circle of waits may lead through other mounts. Only the leader sees all of it, so
 *     has other locks of this mount   files on which POSIX locks are waited for are its own then, all of them
 *
 * And it begins again when the leader says that the mount is alone with the file, and nothing is under way there.
 */
import { type HeldLock, type LockKind, stateLocks } from "../wire/catalogue/locks.ts";
import type { Leases } from "./leases.ts";
import type { LockedFile, LockedFiles } from "./locked-files.ts";
import type { Session } from "./session.ts";
import type { Operation } from "./waits.ts";

/** As for any request that may be sent again. */
const stateTimeoutMs = 10_000;

export interface LockAuthorityParts {
  readonly session: Session;
  readonly leases: Leases;
  readonly files: LockedFiles;
  /** Those who wait here for locks on the file ask the leader. */
  readonly sendWaits: (file: LockedFile) => void;
}

export class LockAuthority {
  readonly #parts: LockAuthorityParts;

  constructor(parts: LockAuthorityParts) {
    this.#parts = parts;
  }

  /** This mount decides, right now. */
  isHere({ inode, requests, stating }: LockedFile): boolean {
    if (requests > 0 || stating !== undefined) return false;
    const node = this.#parts.leases.held(inode, "exclusive");
    return node !== undefined && !node.hasLocksElsewhere;
  }

  /** A wait for a lock of this kind may be kept here. */
  mayWaitHere(file: LockedFile, kind: LockKind): boolean {
    return kind === "flock" || this.#parts.files.all().every((one) => one === file || this.#isNothingElsewhere(one));
  }

  /** Resolves when the leader knows all locks on the file, and decides from now on: it is about to be asked. */
  async leaderDecides(file: LockedFile): Promise<void> {
    this.#decideWaits(file);
    await this.#state(file);
    file.isKnown = true;
  }

  /** The lease on the inode is about to be given back. Undefined: there is nothing to tell. */
  handOver(inode: number): Promise<void> | undefined {
    const file = this.#parts.files.find(inode);
    if (file === undefined) return undefined;
    this.#decideWaits(file);
    const isTold = file.stating === undefined && !file.isUnstated && !hasWaits(file);
    return isTold ? undefined : this.#state(file);
  }

  /** Of the lease on the file's inode. */
  grantOf(file: LockedFile): number {
    return this.#parts.leases.get(file.inode)?.grant ?? 0;
  }

  /**
   * The leader has answered.
   *
   * @param alone it says that no other client is concerned
   * @param grant of the lease when it was asked
   */
  answered(file: LockedFile, alone: boolean, grant: number): void {
    const node = this.#parts.leases.get(file.inode);
    if (node === undefined) return;
    node.isAloneInLocking = alone;
    if (alone && node.grant === grant && this.#parts.leases.held(file.inode, "exclusive") === node) {
      node.hasLocksElsewhere = false;
    }
  }

  /** Takes the exclusive lease, if the leader has said that nobody would miss it. */
  async takeLease(file: LockedFile, operation: Operation): Promise<void> {
    const { leases } = this.#parts;
    const node = leases.get(file.inode);
    if (node?.isAloneInLocking !== true || file.requests > 0 || node.mode === "exclusive") return;
    node.isAloneInLocking = false;
    leases.done(await leases.use(file.inode, "exclusive", operation));
  }

  /** Takes the lease for which another client tells its locks. */
  async askForLocks(file: LockedFile, operation: Operation): Promise<void> {
    const { leases } = this.#parts;
    leases.done(await leases.use(file.inode, "shared", operation));
  }

  /** Waits on other files may be parts of a circle with what is decided at the leader. */
  #decideWaits(file: LockedFile): void {
    for (const other of this.#parts.files.all()) {
      if (other !== file && other.posix.waitCount > 0) void this.#state(other).catch(() => {});
    }
  }

  #isNothingElsewhere(file: LockedFile): boolean {
    return (file.requests === 0 && file.posix.isEmpty) || this.isHere(file);
  }

  #state(file: LockedFile): Promise<void> {
    const { leases, files, sendWaits } = this.#parts;
    if (file.stating !== undefined) return file.stating;
    const node = leases.get(file.inode);
    if (node !== undefined) node.hasLocksElsewhere = true;
    sendWaits(file);
    if (!file.isUnstated) return Promise.resolve();
    file.isUnstated = false;
    const locks = heldOn(file);
    if (locks.length === 0 && !file.isKnown) return Promise.resolve();
    file.isKnown = true;
    file.stating = this.#tell(file.inode, locks).finally(() => {
      file.stating = undefined;
      files.forget(file);
    });
    return file.stating;
  }

  /** On the present connection: on the next one everything is stated anyway. */
  async #tell(inode: number, locks: HeldLock[]): Promise<void> {
    const { session } = this.#parts;
    const { peer } = session;
    if (peer === undefined) return;
    const request = { session: session.id, inode, locks };
    try {
      await peer.request(stateLocks, request, { timeoutMs: stateTimeoutMs });
    } catch {
      if (session.peer === peer && !session.ended) await session.request(stateLocks, request);
    }
  }
}

function hasWaits({ posix, flock }: LockedFile): boolean {
  return posix.waitCount > 0 || flock.waitCount > 0;
}

/** All locks on a file, as the leader is told of them. */
export function heldOn({ inode, posix, flock }: LockedFile): HeldLock[] {
  const all: HeldLock[] = [];
  for (const { held } of [posix, flock]) {
    for (const owner of held.owners()) {
      const { kind, number, pid } = owner;
      for (const range of held.of(owner)) all.push({ inode, kind, owner: number, pid, ...range });
    }
  }
  return all;
}
