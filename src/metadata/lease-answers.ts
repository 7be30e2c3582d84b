/**
 * Answers that bring leases, and what is under them: everything that clients read of the namespace. What is read here is
 * applied, and so committed, state; under a granted lease it is the truth, because an exclusive holder commits what it has
 * changed before it gives the lease back.
 *
 * An answer never waits for one lease while it has taken another: a directory's may be waited for, its children's are only
 * taken when they can be had at once. Nor does an answer about names wait for the directory's lease if the session has it
 * under a grant that the client doesn't know yet: it may keep that lease until the answer comes.
 *
 * Of what the session's user may not read (told.ts) a lease brings the attributes alone. Who is refused a name has the directory's lease
 * all the same, whose client doesn't know it: it goes when it is recalled (recallLeases). To take it away could take one of
 * which the client has been told by another answer.
 *
 * A lease that was replaced between its granting and the answer is left out (leases.ts, 3): the client has been told of the
 * other one.
 */
import { BrineError } from "../errors/brine-error.ts";
import { FileError } from "../errors/file-error.ts";
import { fileOfKey, indexOfKey, isChunkKey, keyText } from "../namespace/chunk-leases.ts";
import type { EntryRecord, InodeRecord, Mapping } from "../namespace/model.ts";
import { mappedToEnd } from "../namespace/namespace.ts";
import { bytesOf } from "../namespace/operations/extended-attributes.ts";
import { directoryEntriesMax, type LeasedInode, type LeaseMode, mappingsPerReply } from "../wire/catalogue/leader.ts";
import { type Answer, afterGrace } from "./grace.ts";
import { type Holdings, isInUse } from "./holdings.ts";
import type { Leader } from "./leader.ts";
import { takeSoon } from "./lease-batch.ts";
import type { Leases } from "./leases.ts";
import type { Session, Sessions } from "./sessions.ts";
import { notTold, tellsData, tellsListing, tellsNames } from "./told.ts";
import type { UnbornInodes } from "./unborn-inodes.ts";

/** Mappings in an answer about many inodes, 12 bytes each: they leave room for a thousand records. */
const mappingsPerAnswerMax = 65_536;
/** Extended attributes in such an answer: what goes with them is about as much again, and it has to fit into 16 MiB. */
const extendedPerAnswerMax = 6 * 1024 * 1024;

export interface LeaseAnswersParts {
  readonly leader: Leader;
  readonly sessions: Sessions;
  readonly holdings: Holdings;
  readonly unborn: UnbornInodes;
  /** Leases or holds on something that may have no name any more are gone. */
  readonly onFreed: () => void;
}

/** What still fits into an answer: mappings, and bytes of extended attributes. */
interface Budget {
  mappings: number;
  extended: number;
}

interface NamedInode {
  readonly parent: LeasedInode | undefined;
  readonly entry: EntryRecord | undefined;
  readonly child: LeasedInode | undefined;
}

interface ReadDirectoryRequest {
  readonly directory: number;
  readonly held: number;
  readonly after: number;
  readonly limit: number;
  readonly withLeases: boolean;
}

interface ReadDirectoryAnswer {
  readonly parent: LeasedInode | undefined;
  readonly entries: { name: string; entry: EntryRecord; child: LeasedInode | undefined }[];
}

export class LeaseAnswers {
  readonly #parts: LeaseAnswersParts;

  constructor(parts: LeaseAnswersParts) {
    this.#parts = parts;
  }

  /** Errors: ENOENT; busy; closed, sessionExpired (the client asks again on its new connection, or never). */
  acquire(
    session: Session,
    body: { inode: number; mode: LeaseMode; held: number; forData: boolean },
  ): Answer<LeasedInode> {
    const { inode, mode, held, forData } = body;
    return this.#served(session, () =>
      isChunkKey(inode)
        ? this.#acquireChunk(session, inode, mode, held)
        : this.#acquireMade(session, inode, () => this.#acquire(session, inode, mode, held, forData)),
    );
  }

  acquireMany(
    session: Session,
    { mode, inodes, recall }: { mode: LeaseMode; inodes: readonly number[]; recall: boolean },
  ): Answer<{ leases: LeasedInode[] }> {
    return this.#served(session, async () => {
      const { leader } = this.#parts;
      const budget = { mappings: mappingsPerAnswerMax, extended: extendedPerAnswerMax };
      const there = inodes.filter((inode) => {
        const record = this.#reachable(session, inode);
        return record !== undefined && takes(budget, record);
      });
      const withinMs = recall ? leader.timeouts.leasesSoonMs : undefined;
      const request = { session: session.id, inodes: there, mode, withinMs };
      const grants = await takeSoon(this.#leases(session), leader.lifetime, request);
      const leases = there.map((inode, index) => this.#leased(session, inode, grants[index]!, budget));
      return { leases: leases.filter((leased) => leased !== undefined) };
    });
  }

  lookup(session: Session, request: { parent: number; held: number; name: string }): Answer<NamedInode> {
    const { parent, held, name } = request;
    const answer = (taken: LeasedInode | undefined): NamedInode => {
      if (!tellsNames(session.user, this.#record(session, parent))) throw notTold(parent);
      const entry = this.#parts.leader.namespace.lookup(session.volume, parent, name);
      const budget = { mappings: mappingsPerReply, extended: extendedPerAnswerMax };
      const grant = this.#leases(session).nextGrant();
      const child = entry === undefined ? undefined : this.#child(session, entry.inode, grant, budget);
      return { parent: taken, entry, child };
    };
    return this.#served(session, () => after(this.#directory(session, parent, held), answer));
  }

  readDirectory(session: Session, request: ReadDirectoryRequest): Answer<ReadDirectoryAnswer> {
    const { directory, held, withLeases } = request;
    const limit = Math.min(request.limit, directoryEntriesMax);
    const answer = (taken: LeasedInode | undefined): ReadDirectoryAnswer => {
      if (limit > 0 && !tellsListing(session.user, this.#record(session, directory))) throw notTold(directory);
      const { namespace } = this.#parts.leader;
      const listed = limit === 0 ? [] : namespace.readDirectory(session.volume, directory, request.after, limit);
      const budget = { mappings: mappingsPerAnswerMax, extended: extendedPerAnswerMax };
      const grant = this.#leases(session).nextGrant();
      const entries = listed.map(({ name, inode, type, cookie }) => {
        const child = withLeases ? this.#child(session, inode, grant, budget) : undefined;
        return { name, entry: { inode, type, cookie }, child };
      });
      return { parent: taken, entries };
    };
    return this.#served(session, () => after(this.#directory(session, directory, held), answer));
  }

  /** Errors: EACCES. */
  mappings(session: Session, inode: number, from: number): { mappings: Mapping[]; mappedBelow: number } {
    const record = this.#record(session, inode);
    if (record !== undefined && !tellsData(session.user, record)) throw notTold(inode);
    return this.#parts.leader.namespace.mappings(session.volume, inode, from, mappingsPerReply);
  }

  releaseLeases(
    session: Session,
    given: readonly { inode: number; grant: number; keepShared: boolean; hold: boolean }[],
  ): void {
    const { leases, holds } = this.#parts.holdings.of(session.volume);
    for (const { inode, grant, keepShared, hold } of given) {
      const isOpen = hold && this.#record(session, inode) !== undefined;
      // Before the lease goes: in between the inode could be reaped.
      if (isOpen) holds.add(session.id, inode);
      const released = leases.release(session.id, inode, grant, keepShared);
      if (released && !hold && !keepShared) holds.remove(session.id, inode);
    }
    this.#parts.onFreed();
  }

  release(session: Session, inodes: readonly number[]): void {
    const { holds } = this.#parts.holdings.of(session.volume);
    for (const inode of inodes) holds.remove(session.id, inode);
    this.#parts.onFreed();
  }

  // --- one inode ---

  /** The answer, when an inode that somebody may be making is there. */
  #acquireMade(session: Session, inode: number, answer: () => Answer<LeasedInode>): Answer<LeasedInode> {
    const made = this.#record(session, inode) === undefined ? this.#parts.unborn.whenMade(session, inode) : undefined;
    if (made === undefined) return answer();
    const { peer } = session;
    return made.then(() => {
      if (session.peer !== peer || session.ending !== undefined) {
        throw new BrineError("closed", "the connection was replaced");
      }
      return answer();
    });
  }

  #acquire(session: Session, inode: number, mode: LeaseMode, held: number, forData: boolean): Answer<LeasedInode> {
    const record = this.#reachable(session, inode);
    if (record === undefined) throw new FileError("ENOENT", `there is no inode ${inode}`);
    const isFile = record.attributes.type === "file";
    const granted = this.#leases(session).acquire(session.id, inode, mode, held, forData && isFile);
    return after(granted, (grant) => this.#granted(session, inode, grant));
  }

  #acquireChunk(session: Session, key: number, mode: LeaseMode, held: number): Answer<LeasedInode> {
    const leases = this.#leases(session);
    const inode = fileOfKey(key);
    if (leases.split.grantOf(session.id, inode) === 0) throw notSplit(key);
    return after(leases.acquireChunk(session.id, key, mode, held), (grant) => {
      const within = leases.split.grantOf(session.id, inode);
      const record = this.#record(session, inode);
      if (within === 0 || record === undefined || !tellsData(session.user, record)) {
        // It ended while this was waited for.
        leases.release(session.id, key, grant);
        throw within === 0 || record === undefined ? notSplit(key) : notTold(inode);
      }
      const given = leases.modeOf(session.id, key, grant);
      if (given === undefined) throw new BrineError("busy", `the lease on ${keyText(key)} was replaced`);
      const attributes = { ...record.attributes, inode: key };
      const { mappings } = this.#parts.leader.namespace.mappings(session.volume, inode, indexOfKey(key), 1);
      return {
        grant,
        mode: given,
        record: { ...record, attributes, extendedAttributes: [] },
        mappings: mappings.filter(({ index }) => index === indexOfKey(key)),
        mappedBelow: mappedToEnd,
        foreignLocks: true,
        within,
      };
    });
  }

  #granted(session: Session, inode: number, grant: number): LeasedInode {
    if (this.#record(session, inode) === undefined) {
      this.#leases(session).release(session.id, inode, grant);
      throw new FileError("ENOENT", `inode ${inode} was removed`);
    }
    const leased = this.#leased(session, inode, grant, { mappings: mappingsPerReply, extended: 0 });
    if (leased === undefined) throw new BrineError("busy", `the lease on inode ${inode} was replaced`);
    return leased;
  }

  /** The directory's lease, if the session doesn't have it with the grant `held`. Errors: ENOENT, ENOTDIR. */
  #directory(session: Session, directory: number, held: number): Answer<LeasedInode | undefined> {
    const record = this.#reachable(session, directory);
    if (record === undefined) throw new FileError("ENOENT", `there is no inode ${directory}`);
    if (record.attributes.type !== "directory") throw new FileError("ENOTDIR");
    if (held !== 0 && this.#leases(session).modeOf(session.id, directory, held) !== undefined) return undefined;
    const renewed = this.#leases(session).renew(session.id, directory);
    if (renewed !== undefined) return this.#granted(session, directory, renewed);
    return this.#acquire(session, directory, "shared", held, false);
  }

  #child(session: Session, inode: number, grant: number, budget: Budget): LeasedInode | undefined {
    const record = this.#record(session, inode);
    if (record === undefined || !takes(budget, record)) return undefined;
    if (!this.#leases(session).takeNow(session.id, inode, "shared", grant)) return undefined;
    return this.#leased(session, inode, grant, budget);
  }

  /** What is under a lease; undefined if the session doesn't have it any more. */
  #leased(session: Session, inode: number, grant: number, budget: Budget): LeasedInode | undefined {
    const mode = this.#leases(session).modeOf(session.id, inode, grant);
    const record = mode === undefined ? undefined : this.#record(session, inode);
    if (mode === undefined || record === undefined) return undefined;
    const foreignLocks = mode === "exclusive" && this.#foreignLocks(session, inode);
    const leased = { grant, mode, record, foreignLocks, within: 0 };
    if (mode === "split") return { ...leased, mappings: [], mappedBelow: 0 };
    if (record.attributes.chunkCount === 0) return { ...leased, mappings: [], mappedBelow: mappedToEnd };
    const limit = tellsData(session.user, record) ? Math.min(mappingsPerReply, budget.mappings) : 0;
    if (limit === 0) return { ...leased, mappings: [], mappedBelow: 0 };
    const mapped = this.#parts.leader.namespace.mappings(session.volume, inode, 0, limit);
    budget.mappings -= mapped.mappings.length;
    return { ...leased, ...mapped };
  }

  /** For an answer that brings an exclusive lease: from now on this is what its client goes by. */
  #foreignLocks(session: Session, inode: number): boolean {
    const { leases, locks } = this.#parts.holdings.of(session.volume);
    const areForeign = locks.isForeign(session.id, inode);
    leases.tellLocks(session.id, inode, areForeign);
    return areForeign;
  }

  #record(session: Session, inode: number): InodeRecord | undefined {
    return this.#parts.leader.namespace.inode(session.volume, inode);
  }

  /** Not an inode without a name that nobody uses: its reaping may have begun. */
  #reachable(session: Session, inode: number): InodeRecord | undefined {
    const record = this.#record(session, inode);
    if (record?.attributes.linkCount !== 0) return record;
    return isInUse(this.#parts.holdings.of(session.volume), inode) ? record : undefined;
  }

  #leases(session: Session): Leases {
    return this.#parts.holdings.of(session.volume).leases;
  }

  /** Answers when all clients of the session's volume have come back or are gone. Errors: closed. */
  #served<T>(session: Session, answer: () => Answer<T>): Answer<T> {
    return afterGrace(this.#parts, session, answer);
  }
}

function notSplit(key: number): BrineError {
  return new BrineError("busy", `${keyText(key)}: without the split lease on the file`);
}

/** Whether the record's extended attributes fit; they are taken off. */
function takes(budget: Budget, { extendedAttributes }: InodeRecord): boolean {
  if (extendedAttributes.length === 0) return true;
  const bytes = bytesOf(extendedAttributes);
  if (bytes > budget.extended) return false;
  budget.extended -= bytes;
  return true;
}

function after<T, R>(value: Answer<T>, then: (value: T) => R): Answer<R> {
  return value instanceof Promise ? value.then(then) : then(value);
}
