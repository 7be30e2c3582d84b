/** Quotas: grants of the leader to clients (134, 148), and what administrators ask for (320, 321). */
import { boolean, type Infer, list, nothing, optional, struct, text, u32, u64 } from "../../codec/schema.ts";
import { quotaKind, quotaLimits, quotaRecord } from "../../namespace/model.ts";
import { method } from "../method.ts";

/** Everything of one account counts for the same quotas; `tree` 0: none of a directory. */
export const quotaAccount = struct({ uid: u32, gid: u32, tree: u64 });

export const quotaAmount = struct({ bytes: u64, inodes: u64 });

/**
 * What a client may still add to the usage of an account, and what it has added that it doesn't know to be committed: all in
 * all, not a difference, so that it may be said twice. `seen`: number of the last grant that it got.
 */
export const heldQuota = struct({ account: quotaAccount, seen: u64, amount: quotaAmount });
export type HeldQuota = Infer<typeof heldQuota>;

/** Accounts of one client. */
export const heldQuotasMax = 16_384;

/**
 * Grants of an account's quotas: `needed` by an operation, and `ahead` as far as there is plenty. Less, down to nothing, is granted as
 * a limit nears. `recall`: if what is needed is not there, all clients of the volume are first asked to commit what they have done
 * and to give back what they don't need, and space of removed files is taken back. One request at a time for each account.
 *
 * `bytes`, `inodes`: what was granted on top of what the client has; undefined: without limit, until `version` is outdated.
 */
export const grantQuota = method(
  134,
  "leader.grantQuota",
  struct({ session: u64, held: heldQuota, needed: quotaAmount, ahead: quotaAmount, recall: boolean }),
  struct({ number: u64, version: u32, bytes: optional(u64), inodes: optional(u64) }),
);

/**
 * Limits have changed, or somebody needs what others have: the client commits all that it has done, gives back what it doesn't use, and
 * says what it still has. Of accounts without limits it asks again if `version` is new.
 */
export const recallQuota = method(
  148,
  "client.recallQuota",
  struct({ version: u32 }),
  struct({ held: list(heldQuota, heldQuotasMax) }),
);

const quotaOwner = { volume: text(64), kind: quotaKind };

/**
 * Sets limits of a quota; one that isn't given stays as it is. `ends`: there are none any more. `id`: of the user or group; `path`:
 * of the directory. Answered when all clients know. What is in a directory is counted afterwards. Errors: notFound, invalid, busy.
 */
export const setQuota = method(
  320,
  "admin.setQuota",
  struct({ ...quotaOwner, id: u32, path: text(8192), limits: quotaLimits, ends: boolean }),
  nothing,
);

/** Quotas in one answer. */
export const listedQuotasMax = 8192;

export const listedQuota = struct({
  volume: text(64),
  quota: quotaRecord,
  /** Of a directory; empty for one that is gone. */
  path: text(8192),
  /** What is in the directory is still being counted, or taken out of a quota that has ended. */
  counting: boolean,
});
export type ListedQuota = Infer<typeof listedQuota>;

/** Those with limits, or all that have usage; of one volume, or (empty) of all. `omitted`: for want of room. Errors: notFound. */
export const listQuotas = method(
  321,
  "admin.listQuotas",
  struct({ volume: text(64), all: boolean }),
  struct({ quotas: list(listedQuota, listedQuotasMax), omitted: u32 }),
);
