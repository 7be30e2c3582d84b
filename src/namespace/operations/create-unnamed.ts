/**
 * createUnnamed: open(2) with O_TMPFILE. The file is an orphan from the beginning: it goes with its last use, unless `link`
 * gives it a name first.
 *
 * Errors, in this order: ENOENT (parent gone or removed), ENOTDIR, EINVAL for a number that the session was not granted.
 */
import { FileError } from "../../errors/file-error.ts";
import type { FileContext } from "../context.ts";
import { directoryOf } from "../inodes.ts";
import { newNodeIn } from "../new-node.ts";
import type { OperationOf, Result } from "../operation.ts";
import { charge } from "../usage.ts";

export function createUnnamed(context: FileContext, operation: OperationOf<"createUnnamed">): Result {
  const { tables, volume, session } = context;
  const { parent, inode } = operation;
  const directory = directoryOf(context, parent);
  if (!session.inodeGrants.has(inode)) throw new FileError("EINVAL", `inode ${inode} is not the session's to use`);

  const asked = { ...operation, type: "file", device: 0, target: "" } as const;
  const record = newNodeIn(directory, asked, { parent, cookie: 0 }, context.timeNs);
  record.attributes.linkCount = 0;
  charge(context, undefined, record);
  session.inodeGrants.use(inode);
  tables.inodes.add(volume, record);
  // Not changed, but what the file got comes from it: a client keeps the directory's lease until this is committed.
  tables.inodes.put(volume, directory);
  tables.inodes.addOrphan(volume, inode);
  tables.volumes.count(volume, 1, 0);
  return { kind: "attributes", attributes: record.attributes };
}
