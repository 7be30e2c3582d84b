/** Sessions and what they were granted, in memory; their results, until they are confirmed. */
import { encode } from "../../codec/schema.ts";
import { BrineError } from "../../errors/brine-error.ts";
import { Grant } from "../grant.ts";
import {
  grantKey,
  kept,
  resultKey,
  sequenceOfKey,
  sessionKey,
  sessionUserKey,
  table,
  tableEnd,
  tableKey,
} from "../keys.ts";
import { type Range, type SessionRecord, type SessionUser, sessionRecord, sessionUser } from "../model.ts";
import { type Result, result } from "../operation.ts";
import { decodeRow } from "../rows.ts";
import { type CountedState, scanUpTo } from "../state.ts";

type GrantTable = typeof table.inodeGrant | typeof table.chunkGrant;

/**
 * Grants of one kind that a session may have unfinished. A client works through one after the other and leaves a few
 * numbers behind where an operation failed, so old grants with a rest pile up. 1,024 keep the end of a session small.
 */
export const openGrantsMax = 1024;

/** The unfinished grants of a session, of one kind. A grant is dropped when its last number was used. */
export class SessionGrants {
  readonly #table: GrantTable;
  readonly #session: number;
  /** By the sequence of the transaction that gave it, oldest first. */
  readonly #grants: Map<number, Grant>;
  readonly #changed = new Set<number>();
  /** The last one found: numbers are used one after the other. */
  #recent: readonly [sequence: number, Grant] | undefined;
  readonly #onChange: () => void;

  constructor(number: GrantTable, session: number, grants: Map<number, Grant>, onChange: () => void) {
    this.#table = number;
    this.#session = session;
    this.#grants = grants;
    this.#onChange = onChange;
  }

  /** Oldest first. */
  get all(): Grant[] {
    return [...this.#grants.values()];
  }

  get ranges(): Range[] {
    return this.all.map((grant) => grant.range);
  }

  has(number: number): boolean {
    return this.#covering(number)?.[1].has(number) ?? false;
  }

  /** The number is used up. Check `has` first. */
  use(number: number): void {
    const covering = this.#covering(number);
    if (covering === undefined) throw new Error(`session ${this.#session} was not granted ${number}`);
    const [sequence, grant] = covering;
    grant.use(number);
    this.#changed.add(sequence);
    if (grant.unusedCount === 0) this.#grants.delete(sequence);
    this.#onChange();
  }

  /** Adds a grant. Returns the oldest one, which the session has no more, if there were too many. */
  add(sequence: number, grant: Grant): Grant | undefined {
    this.#grants.set(sequence, grant);
    this.#changed.add(sequence);
    this.#onChange();
    if (this.#grants.size <= openGrantsMax) return undefined;
    const [oldestSequence, oldest] = this.#grants.entries().next().value!;
    this.#grants.delete(oldestSequence);
    this.#changed.add(oldestSequence);
    return oldest;
  }

  flush(state: CountedState): void {
    for (const sequence of this.#changed) {
      const key = grantKey(this.#table, this.#session, sequence);
      const grant = this.#grants.get(sequence);
      if (grant === undefined) state.delete(key);
      else state.put(key, grant.encode());
    }
    this.#changed.clear();
  }

  /** The session ends. */
  clear(state: CountedState): void {
    for (const sequence of this.#grants.keys()) this.#changed.add(sequence);
    this.#grants.clear();
    this.flush(state);
  }

  #covering(number: number): readonly [sequence: number, Grant] | undefined {
    if (this.#recent?.[1].covers(number) && this.#grants.has(this.#recent[0])) return this.#recent;
    for (const entry of this.#grants) {
      if (!entry[1].covers(number)) continue;
      this.#recent = entry;
      return entry;
    }
    return undefined;
  }
}

/** An open session. Its fields are as of now: who needs them later copies them. */
export class Session implements SessionRecord {
  readonly session: number;
  readonly clientId: string;
  readonly volume: number;
  readonly host: string;
  readonly openedNs: bigint;
  lastSequence: number;
  confirmedSequence: number;
  readonly inodeGrants: SessionGrants;
  readonly chunkGrants: SessionGrants;
  user: SessionUser | undefined;
  /** Numbers of the transactions whose results are kept, in order. */
  readonly results: Set<number>;

  constructor(
    row: Omit<SessionRecord, "inodeRanges" | "chunkRanges" | "user">,
    user: SessionUser | undefined,
    kept: { inodes: Map<number, Grant>; chunks: Map<number, Grant>; results: Set<number> },
    onChange: (session: Session) => void,
  ) {
    this.session = row.session;
    this.clientId = row.clientId;
    this.volume = row.volume;
    this.host = row.host;
    this.openedNs = row.openedNs;
    this.lastSequence = row.lastSequence;
    this.confirmedSequence = row.confirmedSequence;
    this.user = user;
    const changed = () => onChange(this);
    this.inodeGrants = new SessionGrants(table.inodeGrant, row.session, kept.inodes, changed);
    this.chunkGrants = new SessionGrants(table.chunkGrant, row.session, kept.chunks, changed);
    this.results = kept.results;
  }

  get inodeRanges(): Range[] {
    return this.inodeGrants.ranges;
  }

  get chunkRanges(): Range[] {
    return this.chunkGrants.ranges;
  }

  get resultCount(): number {
    return this.results.size;
  }
}

export class SessionTable {
  readonly #state: CountedState;
  readonly #sessions = new Map<number, Session>();
  readonly #byClientId = new Map<string, Session>();
  readonly #changed = new Set<Session>();
  readonly #onChange = (session: Session): void => {
    this.#state.changeCount += 1;
    this.#changed.add(session);
  };

  constructor(state: CountedState) {
    this.#state = state;
    const rows = scanUpTo(state, tableKey(table.session), tableEnd(table.session), Number.POSITIVE_INFINITY);
    for (const [key, row] of rows) {
      const record = decodeRow(sessionRecord, row, key);
      const inodes = this.#storedGrants(table.inodeGrant, record.session);
      const chunks = this.#storedGrants(table.chunkGrant, record.session);
      const results = this.#storedResults(record.session);
      this.#add(new Session(record, this.#storedUser(record.session), { inodes, chunks, results }, this.#onChange));
    }
  }

  /** In the order in which they were opened. */
  all(): Session[] {
    return [...this.#sessions.values()];
  }

  get(session: number): Session | undefined {
    return this.#sessions.get(session);
  }

  byClientId(clientId: string): Session | undefined {
    return this.#byClientId.get(clientId);
  }

  open(session: number, clientId: string, volume: number, host: string, openedNs: bigint): Session {
    const row = { session, clientId, volume, host, openedNs, lastSequence: 0, confirmedSequence: 0 };
    const nothing = { inodes: new Map(), chunks: new Map(), results: new Set<number>() };
    const opened = new Session(row, undefined, nothing, this.#onChange);
    this.#add(opened);
    this.#onChange(opened);
    return opened;
  }

  /** For good. */
  bind(session: Session, user: SessionUser): void {
    session.user = user;
    this.#state.put(sessionUserKey(session.session), encode(sessionUser, user));
  }

  /** Forgets the session, its user, its results and its grants: the caller has seen to its chunks. */
  close(session: Session): void {
    this.forgetResults(session, session.lastSequence);
    session.inodeGrants.clear(this.#state);
    session.chunkGrants.clear(this.#state);
    this.#state.delete(sessionKey(session.session));
    if (session.user !== undefined) this.#state.delete(sessionUserKey(session.session));
    this.#sessions.delete(session.session);
    this.#byClientId.delete(session.clientId);
    this.#changed.delete(session);
  }

  /**
   * The result of a transaction that was executed: `done` if it was not kept, because the client had predicted it.
   * Undefined if it is confirmed, or was never executed.
   */
  resultOf(session: Session, sequence: number): Result | undefined {
    if (sequence <= session.confirmedSequence || sequence > session.lastSequence) return undefined;
    if (!session.results.has(sequence)) return { kind: "done" };
    const key = resultKey(session.session, sequence);
    const row = this.#state.get(key);
    if (row === undefined) throw new BrineError("internal", `the namespace's state has lost result ${sequence}`);
    return decodeRow(result, row, key);
  }

  /** A transaction was executed. Its result is kept if there is one. */
  advance(session: Session, sequence: number, kept: Result | undefined): void {
    session.lastSequence = sequence;
    this.#onChange(session);
    if (kept === undefined) return;
    session.results.add(sequence);
    this.#state.put(resultKey(session.session, sequence), encode(result, kept));
  }

  /** The client has the results up to `confirmed`. */
  forgetResults(session: Session, confirmed: number): void {
    if (confirmed <= session.confirmedSequence) return;
    for (const sequence of session.results) {
      if (sequence > confirmed) break;
      session.results.delete(sequence);
      this.#state.delete(resultKey(session.session, sequence));
    }
    session.confirmedSequence = confirmed;
    this.#onChange(session);
  }

  flush(): void {
    for (const session of this.#changed) {
      const { clientId, volume, host, openedNs, lastSequence, confirmedSequence } = session;
      const row = { session: session.session, clientId, volume, host, openedNs, lastSequence, confirmedSequence };
      this.#state.put(sessionKey(session.session), encode(sessionRecord, row));
      session.inodeGrants.flush(this.#state);
      session.chunkGrants.flush(this.#state);
    }
    this.#changed.clear();
  }

  #add(session: Session): void {
    this.#sessions.set(session.session, session);
    this.#byClientId.set(session.clientId, session);
  }

  #storedUser(session: number): SessionUser | undefined {
    const key = sessionUserKey(session);
    const row = this.#state.get(key);
    return row === undefined ? undefined : decodeRow(sessionUser, row, key);
  }

  #storedGrants(number: GrantTable, session: number): Map<number, Grant> {
    const from = kept(grantKey(number, session, 0));
    const rows = scanUpTo(this.#state, from, kept(grantKey(number, session + 1, 0)), Number.POSITIVE_INFINITY);
    return new Map(rows.map(([key, row]) => [sequenceOfKey(key), Grant.decode(row, key)]));
  }

  #storedResults(session: number): Set<number> {
    const from = kept(resultKey(session, 0));
    const rows = scanUpTo(this.#state, from, kept(resultKey(session + 1, 0)), Number.POSITIVE_INFINITY);
    return new Set(rows.map(([key]) => sequenceOfKey(key)));
  }
}
