/**
 * Changes of the namespace: executed on the cached records under exclusive leases, put into the journal, answered. Only a
 * rename that gives a directory a new parent is decided by the leader, one at a time in a volume: two such renames on two
 * clients, each right for itself, could tie a loop.
 *
 * A session that acts for one user asks for his permissions first, by the rules by which the leader will ask again.
 */
import { applyFileOperation, type FileOperation, leaseFor } from "../namespace/apply.ts";
import { authorize } from "../namespace/authorization.ts";
import type { Attributes } from "../namespace/model.ts";
import type { OperationOf, Result } from "../namespace/operation.ts";
import { Access } from "./access.ts";
import type { EntryData } from "./journal-entry.ts";
import type { MountSession } from "./mount-session.ts";
import type { Node } from "./node.ts";
import { expectResult } from "./results.ts";
import { type Soon, whenThere } from "./soon.ts";
import type { Operation } from "./waits.ts";

/**
 * Executes a change. Errors: FileError, as the operation says.
 *
 * @param then runs in the same moment, before anybody else can come in between; `also` executes another change in it, for which
 * everything is there
 * @param permit for a change of one inode: asked with its attributes before, in the same moment
 */
export function change<T>(
  mount: MountSession,
  fileOperation: FileOperation,
  operation: Operation,
  then: (result: Result, also: (operation: FileOperation) => void) => T,
  permit?: (attributes: Attributes) => void,
): Soon<T> {
  const attempt = (access: Access): T => {
    if (permit !== undefined && "inode" in fileOperation) {
      permit(access.node(fileOperation.inode, leaseFor(fileOperation.kind)).record.attributes);
    }
    const result = execute(mount, fileOperation, access);
    if (result.kind === "removed" && result.orphan !== 0) letOrphanGo(mount, result.orphan);
    return then(result, (other) => void execute(mount, other, access));
  };
  const changing = whenThere(mount.journal.room(operation), () => mount.fetcher.run(operation, attempt));
  return whenThere(changing, (answer) => writtenThrough(mount, operation, answer));
}

/** The answer, as soon as it may be given. */
function writtenThrough<T>({ session, journal }: MountSession, operation: Operation, answer: T): Soon<T> {
  if (!session.writeThrough) return answer;
  return journal.committed(journal.position, operation).then(() => answer);
}

/** The same for one inode, whose node the caller has pinned under the lease that it takes. Returns the position. */
export function changePinned(
  mount: MountSession,
  node: Node,
  fileOperation: OperationOf<"write" | "unmap" | "setAttributes" | "place" | "access" | "markHoles">,
  data: EntryData | undefined,
): number {
  execute(mount, fileOperation, Access.over(mount.fetcher, node), data, node);
  return node.lastPosition;
}

/** @param content of which the operation is: if that is a chunk's, it is executed on the chunk, and sent as one on the file */
function execute(
  mount: MountSession,
  fileOperation: FileOperation,
  access: Access,
  data?: EntryData,
  content?: Node,
): Result {
  const timeNs = mount.session.clock.nowNs();
  const own =
    content?.file === undefined ? fileOperation : ({ ...fileOperation, inode: content.inode } as FileOperation);
  const { user } = mount.session;
  const { result, changed, charges } = mount.tables.run(access, timeNs, leaseFor(own.kind), (context) => {
    // Changes of data are asked for before: their bytes may have reached the stores by now (data-operations.ts).
    if (user !== undefined && content === undefined) authorize(context, user, own);
    return applyFileOperation(context, own);
  });
  // Without a change there is nothing to tell: a chmod of nothing, a rename onto itself.
  if (changed.length === 0) {
    mount.quotas.giveBack(charges);
    return result;
  }
  const nodes = content?.file === undefined ? changed : [...changed, content.file];
  const position = mount.journal.append(fileOperation, timeNs, nodes, data);
  if (charges.length > 0) mount.quotas.placed(charges, position);
  for (const { names } of changed) names?.forgetRemoved(mount.journal.committedPosition, position);
  return result;
}

/** Nobody needs an inode without names and handles: when that is committed, the leader can have it. */
function letOrphanGo(mount: MountSession, inode: number): void {
  const node = mount.leases.get(inode);
  if (node === undefined) return;
  mount.journal.whenCommitted(node.lastPosition, () => {
    if (node.handles === 0) mount.leases.letGo(node);
  });
}

type Renaming = OperationOf<"rename" | "exchange">;

/** renameat2(2). */
export function rename(mount: MountSession, asked: Renaming, operation: Operation): Soon<void> {
  const attempt = (access: Access): { made: Promise<void> } | undefined => {
    const nodes = nodesOfMove(asked, access);
    if (nodes !== undefined) return decideAtLeader(mount, asked, nodes, access);
    const { orphan } = expectResult(execute(mount, asked, access), "removed");
    if (orphan !== 0) letOrphanGo(mount, orphan);
    return undefined;
  };
  const renaming = whenThere(mount.journal.room(operation), () => mount.fetcher.run(operation, attempt));
  return whenThere(renaming, (decision) => {
    if (decision === undefined) return writtenThrough(mount, operation, undefined);
    operation.waitsFor = "the leader, to move a directory";
    return decision.made;
  });
}

/** What a rename changes that the leader has to decide; undefined for one that is decided here. */
function nodesOfMove(asked: Renaming, access: Access): Node[] | undefined {
  const { parent, name, newParent, newName } = asked;
  if (parent === newParent) return undefined;
  const [from, to] = [access.node(parent, "exclusive"), access.node(newParent, "exclusive")];
  const [moved, replaced] = [access.entry(from, name), access.entry(to, newName)];
  if (moved?.type !== "directory" && replaced?.type !== "directory") return undefined;
  const entries = [moved, replaced].filter((entry) => entry !== undefined);
  return [from, to, ...entries.map((entry) => access.node(entry.inode, "exclusive"))];
}

/**
 * In the very turn in which the nodes were found, nobody relies on them any more, and the operation takes its place in the
 * journal. When the leader has answered, what is cached of them goes.
 */
function decideAtLeader(
  { leases, journal }: MountSession,
  asked: Renaming,
  nodes: readonly Node[],
  access: Access,
): { made: Promise<void> } {
  for (const node of nodes) {
    access.pin(node);
    leases.block(node);
  }
  const pins = access.takePins();
  const made = journal
    .decide(asked, nodes)
    .then((result) => {
      expectResult(result, "removed");
    })
    .finally(() => {
      for (const node of nodes) leases.letGo(node);
      for (const node of pins) leases.done(node);
    });
  return { made };
}
