/** What a session is opened with, and what it tells its owner. */
import { BrineError } from "../errors/brine-error.ts";
import { type SessionUser, userGroupsMax } from "../namespace/model.ts";
import type { KnownLedger } from "../wire/catalogue/handshake.ts";
import type { KnownLeaders } from "../wire/known-leaders.ts";
import type { Peer } from "../wire/peer.ts";
import type { Service } from "../wire/service.ts";
import type { Holdings } from "./holdings.ts";

export interface SessionOptions {
  /** Shared by all sessions of a mount. */
  readonly leaders: KnownLeaders;
  readonly volume: string;
  readonly host: string;
  /** For whom it acts; undefined: for many, whose permissions are checked by who asks. */
  readonly user?: SessionUser | undefined;
  /** Of the leader that the mount has met last. */
  readonly known: KnownLedger;
  /** Undefined until the first connection; then others are refused. */
  readonly clusterId: string | undefined;
  /** What the leader may ask of this client. */
  readonly service: Service;
  /** How long `open` goes on while nobody can be reached or nobody is ready; Infinity: as long as `wanted` says so. */
  readonly patienceMs: number;
  readonly wanted: () => boolean;
}

export interface SessionOwner {
  /** What is held now; stated to a leader before anything else. */
  holdings(): Holdings;
  /** The version of the volume's quotas, with each connection. */
  quotasChanged(version: number): void;
  /** A connection is ready: unanswered transactions are sent again, in the same turn. */
  connected(peer: Peer): void;
  /** It is known to stand until then. */
  extended(untilMs: number): void;
  /** The session has ended without its owner's wish. Resolves when nobody is shown anything of it any more. */
  lost(reason: string): Promise<void>;
}

/** The protocol's bound: a longer name can't be a volume's. */
const volumeNameBytesMax = 64;

/** Errors: notFound, invalid. */
export function checkOptions({ volume, user }: SessionOptions): void {
  if (Buffer.byteLength(volume) > volumeNameBytesMax) {
    throw new BrineError("notFound", `there is no volume "${volume}": names have at most 64 bytes`);
  }
  if (user !== undefined && user.groups.length > userGroupsMax) {
    throw new BrineError(
      "invalid",
      `the user is in ${user.groups.length} groups: a session's may be in ${userGroupsMax}`,
    );
  }
}
