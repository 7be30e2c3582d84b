/**
 * grantChunks, grantChunksOf: new chunk ids for a session, fewer than asked for above `chunkGrantMax`. Where the leader has
 * not named a group (metadata/group-turns.ts), those of the pool take turns; one without an in-sync member is passed over. Of too
 * many unfinished grants the oldest is taken back: what is unused in it is to be deleted.
 *
 * Errors: EINVAL for a count of 0, or a group that is not of the pool; ENOSPC if no group, or not that one, can take writes.
 */
import { FileError } from "../../errors/file-error.ts";
import type { ClientContext } from "../context.ts";
import { Grant } from "../grant.ts";
import { chunkGrantMax, chunkNumbersPerGroup, firstChunkOf, type GroupRecord } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";

export function grantChunks(context: ClientContext, operation: OperationOf<"grantChunks">): Result {
  const count = countOf(operation);
  const group = nextGroup(context, operation.pool, count);
  context.tables.groups.putLastTurn(context.volume, group.pool, group.group);
  return grantOf(context, group, count);
}

/** Takes no turn: the others' order stays. */
export function grantChunksOf(context: ClientContext, operation: OperationOf<"grantChunksOf">): Result {
  const count = countOf(operation);
  const group = context.tables.groups.group(operation.group);
  if (group === undefined || group.volume !== context.volume || group.pool !== operation.pool) {
    throw new FileError("EINVAL", `group ${operation.group} is not of pool ${operation.pool}`);
  }
  if (!canTake(group, count)) throw new FileError("ENOSPC", `group ${operation.group} can't take writes`);
  return grantOf(context, group, count);
}

function countOf({ count }: { readonly count: number }): number {
  if (count === 0) throw new FileError("EINVAL", "a grant of nothing");
  return grantedCount(count);
}

/** How many ids who asks for so many gets. */
export function grantedCount(count: number): number {
  return Math.min(count, chunkGrantMax);
}

function grantOf({ tables, session, sequence }: ClientContext, group: GroupRecord, count: number): Result {
  const grant = new Grant(firstChunkOf(group.group) + group.nextNumber, count);
  tables.groups.putGroup({ ...group, nextNumber: group.nextNumber + count });
  const oldest = session.chunkGrants.add(sequence, grant);
  if (oldest !== undefined) tables.chunks.retire(oldest);
  return { kind: "granted", range: grant.range };
}

/** The group after the one that had the last turn. */
function nextGroup(context: ClientContext, pool: number, count: number): GroupRecord {
  const { groups } = context.tables;
  const { volume } = context;
  const usable = usableGroups(groups.groups(), { volume, pool, count });
  const lastTurn = groups.lastTurn(volume, pool);
  const group = usable.find((candidate) => candidate.group > lastTurn) ?? usable[0];
  if (group === undefined) throw new FileError("ENOSPC", `no group of volume ${volume}, pool ${pool}, can take writes`);
  return group;
}

/** Those of a pool of which so many ids can be granted. */
export function usableGroups(
  groups: readonly GroupRecord[],
  { volume, pool, count }: { volume: number; pool: number; count: number },
): GroupRecord[] {
  return groups.filter((group) => group.volume === volume && group.pool === pool && canTake(group, count));
}

function canTake(group: GroupRecord, count: number): boolean {
  const isServing = group.members.some((member) => member.state === "inSync");
  return isServing && group.nextNumber + count <= chunkNumbersPerGroup;
}
