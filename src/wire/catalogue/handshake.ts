/** The first message on every connection, from the side that connected; its answer opens the connection. */
import { type Infer, list, oneOf, optional, shortList, struct, text, u16, u64 } from "../../codec/schema.ts";
import { method } from "../method.ts";
import { ledgerTerm } from "./term.ts";

/** Grows with every incompatible change of frames or catalogue. */
export const protocolVersion = 11;

export const role = oneOf("client", "store", "leader", "admin");
export type Role = Infer<typeof role>;

/** Things that a connection can have beyond the protocol's version: `tls`, `hmac`, … None exists yet. */
const capabilities = list(text(32), 64);

/** Servers with metadata. */
export const leaderAddresses = shortList(text(256), 8);

/** What a leader tells of its ledger with heartbeats: its term, and the last entry that is committed. */
export const ledgerProgress = { ledgerTerm, ledgerIndex: u64 };

/**
 * Who keeps the metadata as far as a server knows, leader and copy, and as of which leader's term. Empty: it knows of no copy.
 * Whoever looks for the leader tries these, too; only a leader's own word replaces what was known.
 */
export const keepers = struct({ term: ledgerTerm, addresses: leaderAddresses });
export type Keepers = Infer<typeof keepers>;

/** Of a leader's ledger as it was when it began to lead (known-term.ts). */
export const ledgerOrigin = struct({
  /** Begun by a person who went on with less than there had been, at this wall-clock time (ms); 0: the cluster's first one. */
  history: u64,
  /** The last entry there was. */
  beganIndex: u64,
  /** When it began, by its wall clock: tells it from another one under the same term. */
  startedMs: u64,
});
export type LedgerOrigin = Infer<typeof ledgerOrigin>;

/** What somebody knows of the leader that was met last; `index`: the last entry that it has told of. */
export const knownLedger = struct({ term: ledgerTerm, startedMs: u64, history: u64, index: u64 });
export type KnownLedger = Infer<typeof knownLedger>;

export const helloRequest = struct({
  version: u16,
  /** 32 hex digits; empty where the side that connects doesn't know it yet. */
  clusterId: text(64),
  role,
  /** The client's or server's own id. */
  peerId: text(64),
  /** Name and process for logs: `brine mount home@host pid 12`. */
  description: text(256),
  /** Used if both sides have them. */
  wanted: capabilities,
  /** The connection is refused, with the reason, if one can't be had. */
  demanded: capabilities,
});
export type HelloRequest = Infer<typeof helloRequest>;

export const helloResponse = struct({
  version: u16,
  clusterId: text(64),
  serverId: text(64),
  /** Wanted and demanded ones that hold from here on. */
  granted: capabilities,
  /** Under which it leads the cluster; 0: it has no metadata. Who knows a higher one believes nothing that comes after. */
  term: ledgerTerm,
  /** Set while it leads. */
  origin: optional(ledgerOrigin),
  keepers,
});
export type HelloResponse = Infer<typeof helloResponse>;

/** Refused with BrineError versionMismatch, wrongCluster or refused (a demanded capability). */
export const hello = method(1, "hello", helloRequest, helloResponse);
