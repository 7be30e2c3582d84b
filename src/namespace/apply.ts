/**
 * Applies one transaction: once for each number of a session, however often it comes (P4).
 *
 *     sequence = last + 1     applied; its result is kept until the client confirms it, unless it is the success of a
 *                             predicted one: the client has that result already
 *     sequence ≤ last         a resend: the kept result, or `done` if none was kept; nothing changes
 *       … and ≤ confirmed     the client said that it has the result, which is gone: ESTALE
 *     sequence > last + 1     a gap, transactions were lost on the way: EINVAL; the number is not used up
 *     no such session         closed or fenced: ESTALE
 *
 * An operation on files of a session that is bound to a user needs his permissions: EACCES, EPERM (authorization.ts).
 *
 * A transaction with session 0 is the leader's own, and is applied as often as it comes. Clients' operations need a
 * session (EINVAL without), the leader's must not come from one (EPERM).
 */
import { errno } from "../errors/errno.ts";
import { FileError } from "../errors/file-error.ts";
import { authorize } from "./authorization.ts";
import type { ClientContext, Context, FileContext } from "./context.ts";
import type { Operation, OperationKind, OperationOf, Result, Transaction } from "./operation.ts";
import { acceptLoss } from "./operations/accept-loss.ts";
import { access } from "./operations/access.ts";
import { bindSession } from "./operations/bind-session.ts";
import { callStoreSlow } from "./operations/call-store-slow.ts";
import { changeGroup } from "./operations/change-group.ts";
import { chunksDeleted } from "./operations/chunks-deleted.ts";
import { closeSession } from "./operations/close-session.ts";
import { countTree } from "./operations/count-tree.ts";
import { create } from "./operations/create.ts";
import { createUnnamed } from "./operations/create-unnamed.ts";
import { createVolume } from "./operations/create-volume.ts";
import { deleteVolume } from "./operations/delete-volume.ts";
import { discardChunks } from "./operations/discard-chunks.ts";
import { exchange } from "./operations/exchange.ts";
import { removeExtendedAttribute, setExtendedAttribute } from "./operations/extended-attributes.ts";
import { grantChunks, grantChunksOf } from "./operations/grant-chunks.ts";
import { grantInodes } from "./operations/grant-inodes.ts";
import { link } from "./operations/link.ts";
import { markHoles } from "./operations/mark-holes.ts";
import { openSession } from "./operations/open-session.ts";
import { place } from "./operations/place.ts";
import { raiseNumbers } from "./operations/raise-numbers.ts";
import { reapOrphan } from "./operations/reap-orphan.ts";
import { registerStore } from "./operations/register-store.ts";
import { removeVolumeInodes } from "./operations/remove-volume-inodes.ts";
import { rename } from "./operations/rename.ts";
import { rmdir } from "./operations/rmdir.ts";
import { setAccessControlList } from "./operations/set-access-control-list.ts";
import { setAttributes } from "./operations/set-attributes.ts";
import { setCopies } from "./operations/set-copies.ts";
import { setPlacement } from "./operations/set-placement.ts";
import { setQuota } from "./operations/set-quota.ts";
import { setStoreLabels } from "./operations/set-store-labels.ts";
import { setStoreStatus } from "./operations/set-store-status.ts";
import { skipGroups } from "./operations/skip-groups.ts";
import { unlink } from "./operations/unlink.ts";
import { unmap } from "./operations/unmap.ts";
import { write } from "./operations/write.ts";
import type { CountedState } from "./state.ts";
import type { Session } from "./tables/session-table.ts";
import type { Tables } from "./tables/tables.ts";

/** Operations on files: leader and clients execute them by the same rules (context.ts). */
const fileOperations = {
  create,
  createUnnamed,
  link,
  unlink,
  rmdir,
  rename,
  exchange,
  setAttributes,
  write,
  unmap,
  setExtendedAttribute,
  removeExtendedAttribute,
  setAccessControlList,
  place,
  access,
  markHoles,
};
export type FileOperation = OperationOf<keyof typeof fileOperations>;

/** Further operations of clients, at the leader only. */
const sessionOperations = { grantInodes, grantChunks, grantChunksOf, discardChunks };

type ClientKind = keyof typeof fileOperations | keyof typeof sessionOperations;

const leaderOperations: {
  [K in Exclude<OperationKind, ClientKind>]: (context: Context, operation: OperationOf<K>) => Result;
} = {
  openSession,
  bindSession,
  closeSession,
  reapOrphan,
  chunksDeleted,
  createVolume,
  setCopies,
  setQuota,
  countTree,
  deleteVolume,
  removeVolumeInodes,
  registerStore,
  skipGroups,
  raiseNumbers,
  setStoreStatus,
  setStoreLabels,
  callStoreSlow,
  setPlacement,
  changeGroup,
  acceptLoss,
};

/**
 * Results that may be kept for a session: far more than a client has under way (thousands), and few enough to be
 * forgotten in one transaction. A client that confirms nothing gets EINVAL from then on.
 */
export const unconfirmedResultsMax = 16_384;

/** The lease under which a client executes an operation, on all inodes that it changes. */
export function leaseFor(kind: FileOperation["kind"]): "shared" | "exclusive" {
  return kind === "access" ? "shared" : "exclusive";
}

export function isFileOperation(operation: Operation): operation is FileOperation {
  return Object.hasOwn(fileOperations, operation.kind);
}

/** Executes an operation on files. Errors: FileError, as the operation says; then nothing has changed. */
export function applyFileOperation(context: FileContext, operation: FileOperation): Result {
  return fileOperations[operation.kind](context, operation as never);
}

export function applyTransaction(tables: Tables, state: CountedState, transaction: Transaction): Result {
  if (transaction.session === 0) return attempt(state, () => applyOfLeader(tables, transaction));
  const session = tables.sessions.get(transaction.session);
  if (session === undefined) return failed("ESTALE");
  const { sequence, confirmed } = transaction;
  if (confirmed >= sequence || confirmed > session.lastSequence) return failed("EINVAL");
  if (sequence > session.lastSequence + 1) return failed("EINVAL");
  if (sequence <= session.lastSequence) return tables.sessions.resultOf(session, sequence) ?? failed("ESTALE");
  tables.sessions.forgetResults(session, confirmed);
  if (session.resultCount >= unconfirmedResultsMax) return failed("EINVAL");
  const result = attempt(state, () => applyOfClient(tables, session, transaction));
  const isKept = !transaction.predicted || result.kind === "failed";
  tables.sessions.advance(session, sequence, isKept ? result : undefined);
  return result;
}

function applyOfClient(tables: Tables, session: Session, { operation, sequence, timeNs }: Transaction): Result {
  const context: ClientContext = { tables, timeNs, session, volume: session.volume, sequence };
  if (isFileOperation(operation)) {
    if (session.user !== undefined) authorize(context, session.user, operation);
    return applyFileOperation(context, operation);
  }
  if (!Object.hasOwn(sessionOperations, operation.kind)) {
    throw new FileError("EPERM", `${operation.kind} is the leader's`);
  }
  return sessionOperations[operation.kind as keyof typeof sessionOperations](context, operation as never);
}

function applyOfLeader(tables: Tables, { operation, timeNs }: Transaction): Result {
  if (!Object.hasOwn(leaderOperations, operation.kind)) {
    throw new FileError("EINVAL", `${operation.kind} comes from a session`);
  }
  const apply = leaderOperations[operation.kind as keyof typeof leaderOperations];
  return apply({ tables, timeNs }, operation as never);
}

/** The operation's result, or its FileError as one. Anything else is a defect or a damaged state, and stops us. */
function attempt(state: CountedState, apply: () => Result): Result {
  const changesBefore = state.changeCount;
  try {
    return apply();
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    if (state.changeCount !== changesBefore) {
      throw new Error(`an operation has changed the state and failed then: ${error.message}`, { cause: error });
    }
    return { kind: "failed", errno: error.errno };
  }
}

function failed(code: "ESTALE" | "EINVAL"): Result {
  return { kind: "failed", errno: errno[code] };
}
