/**
 * What a client has answered and may still lose (promise P3): the changes of a possible history that nothing proves to be
 * durable yet, on top of a state that is.
 *
 * Entries stand in the order in which they took effect. Of the entries of one client, some precede others for certain: the
 * one had returned before the other was called, or their order can be told from the outcome. Kinds of entries:
 *
 * - `journal`: metadata and newly mapped data. What is left of them is a prefix: with an entry, all that precede it.
 * - `overwrite`: bytes that were mapped before, changed in place. They are left, in part or not at all, if everything is
 *   left on which they depend: journal entries that precede them on the inode and on the directories above it. A journal
 *   entry on the inode is only left with all overwrites that precede it; overwrites with nothing between them are left in
 *   any combination.
 * - `local`: handles and locks, which end with the session in any case.
 *
 * An entry that is proved durable joins the base, with all that must be left with it. Proof is a sync that returned, that the leader
 * itself has decided it, or an operation of another client on an inode that the entry has changed: it had a lease, so the first client
 * had given up its own. Of what the entry has only read (the source of a copy) a lease proves nothing. Only of reads
 * and writes within a file's size is it enough to have leases on their chunks: they prove nothing of other chunks.
 */
import { chunkBytes } from "../../namespace/model.ts";
import type { Model, ModelInode } from "../model.ts";
import { changesData, executeTorn, onlyOverwrites } from "../model-data.ts";
import { dropHolds, dropLocks, dropUnnamed, execute, type Invocation } from "../model-operations.ts";
import { withoutUse } from "../model-rules.ts";
import type { TornWrite } from "../tagged-data.ts";
import { conflict, type Footprint, footprint } from "./conflicts.ts";
import { ancestorsOf, changedInodes, isDecidedByLeader, leasedInodes, subjectsOf } from "./touched.ts";
import { Undecided } from "./violation.ts";

/** When operations were called and returned, as numbers of the history's events. */
export interface Timeline {
  readonly called: ReadonlyMap<number, number>;
  readonly returned: ReadonlyMap<number, number>;
}

interface Entry {
  readonly invocation: Invocation;
  /** It failed in the middle: each of its blocks is there, or not. */
  readonly torn: TornWrite | undefined;
  readonly kind: "journal" | "overwrite" | "local";
  readonly footprint: Footprint;
  /** Entries before it whose order with it can be told. */
  readonly after: ReadonlySet<number>;
  /** Inodes that it changes. */
  readonly changed: ReadonlySet<number>;
  /** Leases on these are enough for it. */
  readonly chunks: ChunkRange | undefined;
  /** The inodes that it is about. */
  readonly subjects: ReadonlySet<number>;
  /** These, and the directories above them. */
  readonly above: ReadonlySet<number>;
  /** It is proved durable, and only stands here until all are that come before it. */
  readonly isDurable: boolean;
}

/** Indexes of a file's chunks; both inclusive. */
interface ChunkRange {
  readonly first: number;
  readonly last: number;
}

const noChunks: ChunkRange = { first: Number.POSITIVE_INFINITY, last: Number.NEGATIVE_INFINITY };

/** One of the ways in which a session can have ended. */
export interface Remains {
  readonly model: Model;
  readonly log: UnsyncedLog;
  /** Inodes that a change was lost of. */
  readonly lost: ReadonlySet<number>;
}

/** More ways than this, and what may be left can't be followed. */
const cutsMax = 3_000;

export class UnsyncedLog {
  readonly base: Model;
  readonly #entries: readonly Entry[];
  #key: string | undefined;

  static on(base: Model): UnsyncedLog {
    return new UnsyncedLog(base, []);
  }

  private constructor(base: Model, entries: readonly Entry[]) {
    this.base = base;
    this.#entries = entries;
  }

  get size(): number {
    return this.#entries.length;
  }

  /** Equal for logs that can't be told apart. */
  get key(): string {
    if (this.#key === undefined) {
      const traces = this.#entries.map(({ invocation: { id, operation }, after, isDurable }) => {
        const copied = operation.kind === "copyRange" ? JSON.stringify(operation.copied) : "";
        const written = operation.kind === "write" ? `+${operation.length}` : "";
        return `${id}${isDurable ? "!" : ""}${copied}${written}<${[...after].sort().join()}`;
      });
      this.#key = `${this.base.fingerprint}:${traces.sort().join(" ")}`;
    }
    return this.#key;
  }

  /** Inodes with changes of the client in them. */
  changedBy(client: string): Set<number> {
    const own = this.#entries.filter((entry) => entry.invocation.client === client && entry.kind !== "local");
    return new Set(own.flatMap(({ changed }) => [...changed]));
  }

  /** With an operation that has changed `before` to `after`. */
  append(before: Model, after: Model, invocation: Invocation, timeline: Timeline, torn?: TornWrite): UnsyncedLog {
    const print = footprint(before, invocation);
    const conflicting = this.#entries.filter((entry) => conflict(entry.footprint, print));
    const subjects = subjectsOf(before, invocation);
    const entry: Entry = {
      invocation,
      torn,
      kind: torn === undefined ? kindOf(before, invocation) : "overwrite",
      footprint: print,
      after: new Set(conflicting.map((one) => one.invocation.id)),
      changed: changedInodes(before, invocation),
      chunks: chunksOf(before, invocation),
      subjects,
      above: ancestorsOf(after, subjects),
      isDurable: false,
    };
    const log = new UnsyncedLog(this.base, [...this.#entries, entry]);
    const leased = leasedInodes(before, invocation, { kind: "done" });
    const seen = conflicting.filter((one) => {
      if (entry.kind === "local" || one.invocation.client === invocation.client) return false;
      return intersect(one.changed, leased) && !areApart(one.chunks, provedChunks(before, invocation));
    });
    const proved = isDecidedByLeader(before, invocation) ? [...seen, entry] : seen;
    return log.#commit(proved, after, timeline);
  }

  /**
   * Another client's operation with leases on these inodes has taken effect: of changes that it saw, or that had returned
   * before it was called, it proves that they are durable.
   */
  seen(by: Invocation, inodes: ReadonlySet<number>, print: Footprint, model: Model, timeline: Timeline): UnsyncedLog {
    const calledAt = timeline.called.get(by.id)!;
    const seenChunks = provedChunks(model, by);
    const proved = this.#entries.filter(({ invocation, changed, chunks, footprint: other }) => {
      if (invocation.client === by.client || !intersect(changed, inodes)) return false;
      if (areApart(chunks, seenChunks)) return false;
      return conflict(other, print) || (timeline.returned.get(invocation.id) ?? calledAt) < calledAt;
    });
    return this.#commit(proved, model, timeline);
  }

  /** What the client had been answered before `calledAt`, on the inode (undefined: on all), is durable. */
  synced(client: string, inode: number | undefined, calledAt: number, model: Model, timeline: Timeline): UnsyncedLog {
    const proved = this.#entries.filter(({ invocation, changed }) => {
      if (invocation.client !== client || (inode !== undefined && !changed.has(inode))) return false;
      return (timeline.returned.get(invocation.id) ?? calledAt) < calledAt;
    });
    return this.#commit(proved, model, timeline);
  }

  /** These operations are durable. */
  durable(ids: ReadonlySet<number>, model: Model, timeline: Timeline): UnsyncedLog {
    const proved = this.#entries.filter(({ invocation }) => ids.has(invocation.id));
    return proved.length === 0 ? this : this.#commit(proved, model, timeline);
  }

  /** All that can be left when the client's session ends here. `end` names that end. */
  cuts(client: string, end: string, model: Model, timeline: Timeline): Remains[] {
    const own = this.#entries.filter(({ invocation }) => invocation.client === client);
    const journal = own.filter(({ kind }) => kind === "journal");
    let cuts: ReadonlySet<Entry>[] = [new Set()];
    for (const entry of journal) {
      const before = journal.filter((one) => precedes(one, entry, timeline));
      const withEntry = cuts.filter((cut) => before.every((one) => cut.has(one)));
      cuts = [...cuts, ...withEntry.map((cut) => new Set([...cut, entry]))];
      if (cuts.length > cutsMax) throw new Undecided(cuts.length);
    }
    const proved = journal.filter(({ isDurable }) => isDurable);
    cuts = cuts.filter((cut) => proved.every((entry) => cut.has(entry)));
    return cuts.map((kept) => this.#remains({ client, own, kept, end, model, timeline }));
  }

  #remains(given: {
    client: string;
    own: readonly Entry[];
    kept: ReadonlySet<Entry>;
    end: string;
    model: Model;
    timeline: Timeline;
  }): Remains {
    const { client, own, kept, end, model, timeline } = given;
    const lost = new Set<number>();
    let base = this.base.withKnowledgeOf(model);
    const others: Entry[] = [];
    for (const entry of this.#entries) {
      if (entry.invocation.client !== client) {
        if (entry.isDurable) base = applied(base, entry, model);
        else others.push(entry);
        continue;
      }
      if (entry.kind === "local") continue;
      const needed = entry.kind === "overwrite" && isNeeded(entry, kept, timeline);
      if (kept.has(entry) || needed || entry.isDurable) {
        base = applied(base, entry, model);
        continue;
      }
      if (entry.kind === "journal") for (const inode of entry.changed) lost.add(inode);
      const lacks = own.some((one) => !kept.has(one) && dependsOn(entry, one, timeline));
      if (lacks) for (const inode of entry.changed) lost.add(inode);
      else base = executeTorn(base, entry.invocation, tornWrite(entry, client, end, timeline)) ?? base;
    }
    base = withoutTrace(dropUnnamed(dropLocks(dropHolds(base, client), client), client), model);
    let after = base;
    for (const entry of others) after = applied(after, entry, model);
    const waiting = new Set(others.map(({ invocation }) => invocation.id));
    const left = others.map((entry) => ({ ...entry, after: intersection(entry.after, waiting) }));
    after = withoutTrace(after.withKnowledgeOf(model), model);
    return { model: after, log: new UnsyncedLog(base, left), lost };
  }

  /** Entries that are proved durable join the base, with all that is then left for certain. */
  #commit(proved: readonly Entry[], model: Model, timeline: Timeline): UnsyncedLog {
    const durable = new Set(proved.filter(({ kind, isDurable }) => kind !== "local" && !isDurable));
    if (durable.size === 0 && this.#entries.at(-1)?.kind !== "local") return this;
    for (const entry of this.#entries) if (entry.isDurable) durable.add(entry);
    for (const entry of durable) {
      for (const one of this.#entries) if (isLeftWith(one, entry, timeline)) durable.add(one);
    }
    let base = this.base.withKnowledgeOf(model);
    const left: Entry[] = [];
    const waiting = new Set<number>();
    for (const entry of this.#entries) {
      const joins = durable.has(entry) || entry.kind === "local";
      if (joins && !intersect(entry.after, waiting)) {
        base = applied(base, entry, model);
      } else {
        waiting.add(entry.invocation.id);
        left.push(entry.isDurable || !durable.has(entry) ? entry : { ...entry, isDurable: true });
      }
    }
    if (left.every((entry, at) => entry === this.#entries[at]) && left.length === this.#entries.length) return this;
    return new UnsyncedLog(
      base,
      left.map((entry) => ({ ...entry, after: intersection(entry.after, waiting) })),
    );
  }
}

function kindOf(model: Model, { operation }: Invocation): Entry["kind"] {
  switch (operation.kind) {
    case "open":
      return operation.truncate ? "journal" : "local";
    case "close":
    case "lock":
    case "unlock":
      return "local";
    default:
      if (!changesData(operation)) return "journal";
      return onlyOverwrites(model.numbered(operation.inode) as ModelInode, operation) ? "overwrite" : "journal";
  }
}

/** Chunks of which the operation proves something: of a copy, which has to do with two files, none is known. */
function provedChunks(model: Model, by: Invocation): ChunkRange | undefined {
  return by.operation.kind === "copyRange" ? noChunks : chunksOf(model, by);
}

/** Of a read or a write that leaves the size as it is. */
function chunksOf(model: Model, { operation }: Invocation): ChunkRange | undefined {
  const { kind } = operation;
  if (kind !== "read" && kind !== "write" && kind !== "copyRange") return undefined;
  const { inode, offset, length } = operation;
  if (offset === undefined) return undefined;
  const { size } = model.numbered(inode) ?? { size: 0 };
  if (kind !== "read" && offset + length > size) return undefined;
  const end = Math.max(offset + 1, Math.min(offset + length, size));
  return { first: Math.floor(offset / chunkBytes), last: Math.floor((end - 1) / chunkBytes) };
}

function areApart(left: ChunkRange | undefined, right: ChunkRange | undefined): boolean {
  return left !== undefined && right !== undefined && (left.last < right.first || right.last < left.first);
}

function precedes(one: Entry, other: Entry, { called, returned }: Timeline): boolean {
  if (one === other) return false;
  const returnedAt = returned.get(one.invocation.id) ?? Number.POSITIVE_INFINITY;
  return other.after.has(one.invocation.id) || returnedAt < called.get(other.invocation.id)!;
}

/** True if the overwrite can only be there when `one` is. */
function dependsOn(overwrite: Entry, one: Entry, timeline: Timeline): boolean {
  return one.kind === "journal" && intersect(overwrite.above, one.subjects) && precedes(one, overwrite, timeline);
}

/** True if a journal entry that is left is on the inode of the overwrite, which precedes it. */
function isNeeded(overwrite: Entry, kept: ReadonlySet<Entry>, timeline: Timeline): boolean {
  return [...kept].some(
    (entry) => intersect(overwrite.subjects, entry.changed) && precedes(overwrite, entry, timeline),
  );
}

/** True if `one` is durable whenever `entry` is. */
function isLeftWith(one: Entry, entry: Entry, timeline: Timeline): boolean {
  if (one.invocation.client !== entry.invocation.client || one.kind === "local") return false;
  if (!precedes(one, entry, timeline)) return false;
  if (one.kind === "overwrite") return intersect(one.subjects, entry.changed);
  return entry.kind === "journal" || intersect(entry.above, one.subjects);
}

function tornWrite({ invocation, subjects, kind }: Entry, client: string, end: string, { called, returned }: Timeline) {
  const { id } = invocation;
  const [subject = -1] = subjects;
  const chain = chainName(client, end, subject);
  return { chain, calledAt: called.get(id)!, returnedAt: returned.get(id), isOrdered: kind === "journal" };
}

/** Name of the overwrites that a client made in a file before its session ended. */
export function chainName(client: string, end: string, inode: number): string {
  return `${client} ${end} ${inode}`;
}

/**
 * Inodes that were lost: their numbers are never used again, and who asks for them gets some error. And those that were
 * gone already stay so, unless a lost unlink gives them a name again: the handles that a client at risk had on them count
 * no more (sessionAtRisk), so nothing was kept of what it did with them since.
 */
function withoutTrace(left: Model, before: Model): Model {
  const gone = [...before.inodes()].flatMap((inode) => {
    if (!left.has(inode.key)) return inode.number === undefined ? [] : [inode];
    const now = left.inode(inode.key);
    return inode.gone && !now.gone && now.linkCount === 0 ? [now] : [];
  });
  if (gone.length === 0) return left;
  return left.with(...gone.map(withoutUse));
}

/** `known`: knows the numbers of inodes that the entry makes. */
function applied(model: Model, { invocation, torn }: Entry, known: Model): Model {
  if (torn !== undefined) return executeTorn(model, invocation, torn) ?? model;
  const { model: after } = execute(model, invocation);
  const { kind } = invocation.operation;
  return kind === "create" || kind === "createUnnamed" ? after.withKnowledgeOf(known) : after;
}

function intersect(left: ReadonlySet<number>, right: ReadonlySet<number>): boolean {
  for (const one of left) if (right.has(one)) return true;
  return false;
}

function intersection(left: ReadonlySet<number>, right: ReadonlySet<number>): ReadonlySet<number> {
  return new Set([...left].filter((one) => right.has(one)));
}
