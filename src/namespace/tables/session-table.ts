/** Sessions and what they were granted, in memory; their results, until they are confirmed. */
import { encode } from "../../codec/schema.ts";
import { Grant } from "../grant.ts";
import { grantKey, kept, resultKey, secondNumberOfKey, sessionKey, table, tableEnd, tableKey } from "../keys.ts";
import { type Range, type SessionRecord, sessionRecord } from "../model.ts";
import { type Result, result } from "../operation.ts";
import { decodeRow } from "../rows.ts";
import { type CountedState, scanUpTo } from "../state.ts";

type GrantTable = typeof table.inodeGrant | typeof table.chunkGrant;

/** The unfinished grants of a session, of one kind. A grant is dropped when its last number was used. */
export class SessionGrants {
  readonly #table: GrantTable;
  readonly #session: number;
  readonly #grants: Grant[];
  readonly #changed = new Set<Grant>();
  readonly #onChange: () => void;

  constructor(number: GrantTable, session: number, grants: Grant[], onChange: () => void) {
    this.#table = number;
    this.#session = session;
    this.#grants = grants;
    this.#onChange = onChange;
  }

  get all(): readonly Grant[] {
    return this.#grants;
  }

  get ranges(): Range[] {
    return this.#grants.map((grant) => grant.range);
  }

  has(number: number): boolean {
    return this.#covering(number)?.has(number) ?? false;
  }

  /** The number is used up. Check `has` first. */
  use(number: number): void {
    const grant = this.#covering(number);
    if (grant === undefined) throw new Error(`session ${this.#session} was not granted ${number}`);
    grant.use(number);
    this.#changed.add(grant);
    if (grant.unusedCount === 0) this.#grants.splice(this.#grants.indexOf(grant), 1);
    this.#onChange();
  }

  add(grant: Grant): void {
    this.#grants.push(grant);
    this.#changed.add(grant);
    this.#onChange();
  }

  flush(state: CountedState): void {
    for (const grant of this.#changed) {
      const key = grantKey(this.#table, this.#session, grant.first);
      if (grant.unusedCount === 0) state.delete(key);
      else state.put(key, grant.encode());
    }
    this.#changed.clear();
  }

  /** The session ends. */
  deleteRows(state: CountedState): void {
    // Grants that were finished in this batch still have their rows.
    for (const grant of new Set([...this.#grants, ...this.#changed])) {
      state.delete(grantKey(this.#table, this.#session, grant.first));
    }
  }

  #covering(number: number): Grant | undefined {
    // The newest grants are the ones in use.
    for (let at = this.#grants.length - 1; at >= 0; at--) {
      if (this.#grants[at]!.covers(number)) return this.#grants[at];
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

  constructor(
    row: Omit<SessionRecord, "inodeRanges" | "chunkRanges">,
    grants: { inodes: Grant[]; chunks: Grant[] },
    onChange: (session: Session) => void,
  ) {
    this.session = row.session;
    this.clientId = row.clientId;
    this.volume = row.volume;
    this.host = row.host;
    this.openedNs = row.openedNs;
    this.lastSequence = row.lastSequence;
    this.confirmedSequence = row.confirmedSequence;
    const changed = () => onChange(this);
    this.inodeGrants = new SessionGrants(table.inodeGrant, row.session, grants.inodes, changed);
    this.chunkGrants = new SessionGrants(table.chunkGrant, row.session, grants.chunks, changed);
  }

  get inodeRanges(): Range[] {
    return this.inodeGrants.ranges;
  }

  get chunkRanges(): Range[] {
    return this.chunkGrants.ranges;
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
      this.#add(new Session(record, { inodes, chunks }, this.#onChange));
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
    const opened = new Session(row, { inodes: [], chunks: [] }, this.#onChange);
    this.#add(opened);
    this.#onChange(opened);
    return opened;
  }

  /** Forgets the session, its results and its grants: the caller has seen to its chunks. */
  close(session: Session): void {
    this.forgetResults(session, session.lastSequence);
    session.inodeGrants.deleteRows(this.#state);
    session.chunkGrants.deleteRows(this.#state);
    this.#state.delete(sessionKey(session.session));
    this.#sessions.delete(session.session);
    this.#byClientId.delete(session.clientId);
    this.#changed.delete(session);
  }

  /** The result of a transaction that isn't confirmed yet. */
  storedResult(session: Session, sequence: number): Result | undefined {
    const key = resultKey(session.session, sequence);
    const row = this.#state.get(key);
    return row === undefined ? undefined : decodeRow(result, row, key);
  }

  storeResult(session: Session, sequence: number, value: Result): void {
    session.lastSequence = sequence;
    this.#onChange(session);
    this.#state.put(resultKey(session.session, sequence), encode(result, value));
  }

  /** The client has the results up to `confirmed`. */
  forgetResults(session: Session, confirmed: number): void {
    if (confirmed <= session.confirmedSequence) return;
    for (let sequence = session.confirmedSequence + 1; sequence <= confirmed; sequence++) {
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

  #storedGrants(number: GrantTable, session: number): Grant[] {
    const from = kept(grantKey(number, session, 0));
    const rows = scanUpTo(this.#state, from, kept(grantKey(number, session + 1, 0)), Number.POSITIVE_INFINITY);
    return rows.map(([key, row]) => Grant.decode(secondNumberOfKey(key), row, key));
  }
}
