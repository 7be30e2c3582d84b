/**
 * Between the servers that keep the ledger, or vote on who leads it. Numbers 500–599. The leader connects to the others and
 * asks; a copy asks only to be taken in. `leader` is the id of the server that asks, `term` its term.
 */
import {
  boolean,
  bytes,
  type Infer,
  list,
  nothing,
  oneOf,
  optional,
  struct,
  text,
  u32,
  u64,
} from "../../codec/schema.ts";
import { method } from "../method.ts";
import { backupRow } from "./admin.ts";
import { ledgerTerm } from "./term.ts";

const serverId = text(64);

const memberFields = { serverId, address: text(256) };
export const ledgerMember = struct(memberFields);
export type LedgerMember = Infer<typeof ledgerMember>;

/** What the leader does when it has lost the copy: `required`, changes wait; `preferred`, it goes on alone. */
export const ledgerRule = oneOf("required", "preferred");
export type LedgerRule = Infer<typeof ledgerRule>;

/** Who keeps the ledger. The one with the higher (term, sequence) holds. */
export const configuration = struct({
  term: ledgerTerm,
  sequence: u64,
  /** The first leader's server first, its copy second: their terms are never the same. */
  copies: list(ledgerMember, 2),
  /** Ids of those that have every acknowledged entry. */
  inStep: list(serverId, 2),
  witness: optional(ledgerMember),
  rule: ledgerRule,
});
export type Configuration = Infer<typeof configuration>;

/**
 * Asks for the promise to obey no leader with a lower term. `promised` is durable. Refused while another leader may still
 * serve: try again after `waitMs`; or since a term as high was promised already: `term`.
 */
export const claimTerm = method(
  500,
  "ledger.claimTerm",
  struct({ term: ledgerTerm, leader: serverId }),
  struct({
    promised: boolean,
    /** The highest one promised, and to whom. */
    term: ledgerTerm,
    leader: serverId,
    waitMs: u32,
    configuration: optional(configuration),
  }),
);

/** Durable when it is answered. Errors: notLeader (a higher term was promised). */
export const recordConfiguration = method(
  501,
  "ledger.recordConfiguration",
  struct({ leader: serverId, configuration }),
  nothing,
);

/** Until `serveMs` after the sending of this request nobody else is promised anything. Errors: notLeader. */
export const renewServing = method(
  502,
  "ledger.renewServing",
  struct({ term: ledgerTerm, leader: serverId }),
  struct({ serveMs: u32 }),
);

/** The end of a copy's log. `lastTerm`: of its last entry; 0 if that isn't known. Errors: notLeader, notServing. */
export const attachCopy = method(
  510,
  "ledger.attachCopy",
  struct({ term: ledgerTerm }),
  struct({ lastIndex: u64, lastTerm: ledgerTerm }),
);

const ledgerEntry = struct({ index: u64, term: ledgerTerm, batch: bytes(1024 * 1024) });

/** Entries and their bytes in one message, at most (at least one entry). */
export const entriesMax = 1024;
export const entriesBytesMax = 1024 * 1024;

/** Entries that follow the last one of the copy; answered when they are on its disk. Errors: notLeader, invalid, noSpace, diskFailed. */
export const appendEntries = method(
  511,
  "ledger.appendEntries",
  struct({ term: ledgerTerm, entries: list(ledgerEntry, entriesMax) }),
  nothing,
);

/** Entries of a copy from an index on: what the last leader sent to it and didn't write itself. Errors: notLeader, notFound. */
export const readEntries = method(
  512,
  "ledger.readEntries",
  struct({ term: ledgerTerm, from: u64 }),
  struct({ entries: list(ledgerEntry, entriesMax) }),
);

/** A part of the leader's state, which replaces ledger and state of the copy; with the last part comes the entry that it ends with. */
export const replaceState = method(
  513,
  "ledger.replaceState",
  struct({
    term: ledgerTerm,
    first: boolean,
    rows: list(backupRow, 65_536),
    done: boolean,
    last: optional(ledgerEntry),
  }),
  nothing,
);

/** A server asks the leader to keep its copy there. Errors: exists (there is another one), notLeader. */
export const joinLedger = method(520, "ledger.join", struct({ ...memberFields, rule: ledgerRule }), nothing);

/**
 * Makes the copy that is asked the leader. Errors: busy (the old leader may still serve, or too few voters answer), invalid (it
 * leads already, it is no copy, or it is behind).
 */
export const promoteLedger = method(
  521,
  "ledger.promote",
  struct({ oldLeaderIsOff: boolean, acceptLoss: boolean }),
  struct({ term: ledgerTerm }),
);

/**
 * The copy at this address is lost for good: the leader goes on alone, and another server can join as the copy. Errors: invalid (there
 * is no copy there), busy (it is connected), unreachable (the witness has to know).
 */
export const forgetCopy = method(522, "ledger.forgetCopy", struct({ address: text(256) }), nothing);

/** The store's server at this address is the witness from now on. Errors: notFound, invalid, refused (the copy isn't in step). */
export const setWitness = method(523, "ledger.setWitness", struct({ address: text(256) }), nothing);
