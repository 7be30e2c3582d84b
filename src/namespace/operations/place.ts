/**
 * place: a file is put under a pool, and chunks of it are replaced by new ones with the same content, in that pool's groups. Nothing
 * that stat(2) or read(2) show changes.
 *
 * Errors: ENOENT, EINVAL (not a regular file, no such pool, an index that is a hole, a chunk that is not the session's).
 */
import { FileError } from "../../errors/file-error.ts";
import { applyMappings, planMappings } from "../chunk-maps.ts";
import type { FileContext } from "../context.ts";
import { draftOf, inodeOf } from "../inodes.ts";
import type { OperationOf, Result } from "../operation.ts";

export function place(context: FileContext, operation: OperationOf<"place">): Result {
  const { tables, volume } = context;
  const { pool } = operation;
  const before = inodeOf(context, operation.inode);
  if (before.attributes.type !== "file") throw new FileError("EINVAL", "only a file has chunks");
  if (!tables.placements.hasPool(volume, pool)) throw new FileError("EINVAL", `the volume has no pool ${pool}`);
  const planned = planMappings(context, before, operation.mappings, before.attributes.size);
  const hole = planned.find(({ previous }) => previous === undefined);
  if (hole !== undefined) throw new FileError("EINVAL", `there is no chunk at index ${hole.index}`);

  const record = draftOf(before);
  record.pool = pool;
  applyMappings(context, record, planned);
  tables.inodes.put(volume, record);
  return { kind: "attributes", attributes: record.attributes };
}
