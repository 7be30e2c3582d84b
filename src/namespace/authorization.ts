/**
 * What a session's user may do: the permissions that Linux asks for before each operation on files (path_resolution(7) and
 * each call's manual page, fs/namei.c and fs/attr.c in the kernel). Asked at the leader, before a transaction of a session
 * that is bound to a user is applied, and by a client that has bound itself before it answers.
 *
 * 1. Only what the transaction names is looked at: the inode, the directory, the entry in it. Permission to search the
 *    directories above isn't seen from an inode's number, as with an NFS file handle.
 * 2. What isn't there, or isn't of the right type, is left to the operation: its error says more. But who may not search a
 *    directory doesn't hear which names are in it.
 * 3. What the kernel would do otherwise than asked is refused with EPERM, because a client has answered already: setgid for a
 *    group in which the user isn't, a write that leaves set-id bits.
 * 4. Root may do everything.
 */
import { FileError } from "../errors/file-error.ts";
import type { Asker } from "./access-control-lists.ts";
import type { FileOperation } from "./apply.ts";
import type { FileContext } from "./context.ts";
import { groupExecute, setGroupId } from "./inodes.ts";
import type { EntryRecord, FileType, InodeRecord } from "./model.ts";
import type { OperationKind, OperationOf } from "./operation.ts";
import {
  hasPrivileges,
  isInGroup,
  isKeptBySticky,
  isOwner,
  isSticky,
  mayAccess,
  mayChangeData,
  mayLink,
  mayRead,
  wanted,
  writeAndSearch,
} from "./permissions.ts";

type Rule<K extends OperationKind> = (context: FileContext, who: Asker, operation: OperationOf<K>) => void;
/** Of an operation that changes one inode. */
type RecordRule<K extends OperationKind> = (who: Asker, record: InodeRecord, operation: OperationOf<K>) => void;

const recordRules = {
  setAttributes: checkSetAttributes,
  write: (who, record, { killPrivileges }) => checkData(who, record, killPrivileges),
  unmap: (who, record) => checkData(who, record, false),
  place: (who, record, { mappings }) => checkData(who, record, mappings.length === 0),
  markHoles: (who, record) => checkData(who, record, true),
  setExtendedAttribute: (who, record, { name }) => checkExtendedAttribute(who, record, name),
  removeExtendedAttribute: (who, record, { name }) => checkExtendedAttribute(who, record, name),
  setAccessControlList: checkAccessControlList,
  access: (who, record) => {
    if (!mayRead(who, record)) throw denied(record);
  },
} satisfies { [K in OperationKind]?: RecordRule<K> };
type RecordKind = keyof typeof recordRules;

const treeRules: { [K in Exclude<FileOperation["kind"], RecordKind>]: Rule<K> } = {
  create: checkCreate,
  createUnnamed: (context, who, operation) => {
    const parent = directory(context, operation.parent);
    if (parent !== undefined) checkNew(who, parent, { ...operation, type: "file" });
  },
  link: checkLink,
  unlink: checkRemoval,
  rmdir: checkRemoval,
  rename: checkRename,
  exchange: checkExchange,
};

/** Errors: EACCES, EPERM. */
export function authorize(context: FileContext, who: Asker, operation: FileOperation): void {
  if (who.uid === 0) return;
  if (!isOnRecord(operation)) {
    treeRules[operation.kind](context, who, operation as never);
    return;
  }
  const record = context.tables.inodes.get(context.volume, operation.inode);
  if (record !== undefined) authorizeChange(who, record, operation);
}

/** The same for an operation on one inode. Errors: EACCES, EPERM. */
export function authorizeChange(who: Asker, record: InodeRecord, operation: OperationOf<RecordKind>): void {
  if (who.uid === 0) return;
  const check: RecordRule<never> = recordRules[operation.kind];
  check(who, record, operation as never);
}

function isOnRecord(operation: FileOperation): operation is OperationOf<RecordKind> {
  return Object.hasOwn(recordRules, operation.kind);
}

// --- names ---

function checkCreate(context: FileContext, who: Asker, operation: OperationOf<"create">): void {
  const parent = directory(context, operation.parent);
  if (parent === undefined) return;
  allow(who, parent, wanted.execute);
  if (entry(context, operation.parent, operation.name) === undefined) checkNew(who, parent, operation);
}

/** New inodes belong to who makes them, in one of his groups or, as a setgid directory has it, in that one's. */
function checkNew(
  who: Asker,
  parent: InodeRecord,
  { type, mode, uid, gid }: { type: FileType; mode: number; uid: number; gid: number },
): void {
  allow(who, parent, writeAndSearch);
  if (type === "characterDevice" || type === "blockDevice") throw refused("only root makes device nodes");
  if (uid !== who.uid) throw refused(`a new file belongs to who makes it, ${who.uid}`);
  const inherits = (parent.attributes.mode & setGroupId) !== 0;
  if (!inherits && !isInGroup(who, gid)) throw refused(`the user is not in group ${gid}`);
  const isSetGroup = (mode & setGroupId) !== 0 && (mode & groupExecute) !== 0;
  if (type !== "directory" && isSetGroup && !isInGroup(who, inherits ? parent.attributes.gid : gid)) {
    throw refused("setgid of a group in which the user is not");
  }
}

function checkLink(context: FileContext, who: Asker, { inode, parent, name }: OperationOf<"link">): void {
  const record = context.tables.inodes.get(context.volume, inode);
  const into = directory(context, parent);
  if (record === undefined || into === undefined) return;
  allow(who, into, wanted.execute);
  if (entry(context, parent, name) !== undefined || record.attributes.type === "directory") return;
  if (!mayLink(who, record)) throw refused(`inode ${inode} is somebody else's, and not to be read and written`);
  allow(who, into, writeAndSearch);
}

function checkRemoval(context: FileContext, who: Asker, { parent, name }: OperationOf<"unlink" | "rmdir">): void {
  const from = directory(context, parent);
  if (from === undefined) return;
  allow(who, from, wanted.execute);
  const found = entry(context, parent, name);
  if (found !== undefined) allowRemoval(context, who, from, found);
}

function checkRename(context: FileContext, who: Asker, operation: OperationOf<"rename">): void {
  const moving = bothDirectories(context, who, operation);
  if (moving === undefined) return;
  const { from, to, moved, replaced } = moving;
  if (moved === undefined || moved.inode === replaced?.inode) return;
  if (replaced !== undefined && operation.noReplace) return;
  allowRemoval(context, who, from, moved);
  if (replaced === undefined) allow(who, to, writeAndSearch);
  else allowRemoval(context, who, to, replaced);
  if (operation.parent !== operation.newParent) allowNewParent(context, who, moved);
}

function checkExchange(context: FileContext, who: Asker, operation: OperationOf<"exchange">): void {
  const moving = bothDirectories(context, who, operation);
  if (moving === undefined) return;
  const { from, to, moved, replaced } = moving;
  if (moved === undefined || replaced === undefined || moved.inode === replaced.inode) return;
  allowRemoval(context, who, from, moved);
  allowRemoval(context, who, to, replaced);
  if (operation.parent === operation.newParent) return;
  allowNewParent(context, who, moved);
  allowNewParent(context, who, replaced);
}

function bothDirectories(
  context: FileContext,
  who: Asker,
  { parent, name, newParent, newName }: OperationOf<"rename" | "exchange">,
) {
  const from = directory(context, parent);
  const to = directory(context, newParent);
  if (from === undefined || to === undefined) return undefined;
  allow(who, from, wanted.execute);
  allow(who, to, wanted.execute);
  return { from, to, moved: entry(context, parent, name), replaced: entry(context, newParent, newName) };
}

function allowRemoval(context: FileContext, who: Asker, from: InodeRecord, { inode }: EntryRecord): void {
  allow(who, from, writeAndSearch);
  const record = context.tables.inodes.get(context.volume, inode);
  if (record !== undefined && isKeptBySticky(who, from.attributes, record.attributes)) {
    throw refused("a sticky directory, and somebody else's entry");
  }
}

/** A directory's `..` changes with its parent. */
function allowNewParent(context: FileContext, who: Asker, { inode, type }: EntryRecord): void {
  const record = type === "directory" ? context.tables.inodes.get(context.volume, inode) : undefined;
  if (record !== undefined) allow(who, record, wanted.write);
}

// --- one inode ---

function checkSetAttributes(who: Asker, record: InodeRecord, operation: OperationOf<"setAttributes">): void {
  const { attributes } = record;
  const { mode, uid, gid, size, atime, mtime, ctime, killPrivileges } = operation;
  const isOwners = isOwner(who, attributes);
  const groupAfter = gid ?? attributes.gid;
  if (uid !== undefined && !(isOwners && uid === attributes.uid)) throw refused("only root gives files away");
  if (gid !== undefined && !(isOwners && (gid === attributes.gid || isInGroup(who, gid)))) {
    throw refused("a group is changed by the owner, to one of his");
  }
  if (mode !== undefined) {
    if (!isOwners) throw refused("only the owner changes the mode");
    if ((mode & setGroupId) !== 0 && !isInGroup(who, groupAfter)) throw refused("setgid of a group without the owner");
  }
  const times = [atime, mtime, ctime].filter((time) => time !== undefined);
  if (times.some(({ kind }) => kind === "at") && !isOwners) throw refused("only the owner sets times");
  if (size !== undefined) checkData(who, record, killPrivileges);
  else if (times.length > 0 || killPrivileges) checkData(who, record, true);
}

/** @param killsPrivileges false: set-id bits would stay */
function checkData(who: Asker, record: InodeRecord, killsPrivileges: boolean): void {
  if (!mayChangeData(who, record)) throw denied(record);
  if (!killsPrivileges && hasPrivileges(record.attributes)) throw refused("set-id bits have to go with a write");
}

/** xattr(7). ACLs have an operation of their own. */
function checkExtendedAttribute(who: Asker, record: InodeRecord, name: string): void {
  const { type } = record.attributes;
  if (!name.startsWith("user.")) throw refused(`${name}: only root changes attributes that are not the user's`);
  if (type !== "file" && type !== "directory") throw refused(`a ${type} has no attributes of the user's`);
  if (type === "directory" && isSticky(record.attributes) && !isOwner(who, record.attributes)) {
    throw refused("somebody else's sticky directory");
  }
  allow(who, record, wanted.write);
}

function checkAccessControlList(
  who: Asker,
  { attributes }: InodeRecord,
  { which, killSetGroupId }: OperationOf<"setAccessControlList">,
): void {
  if (!isOwner(who, attributes)) throw refused("only the owner changes an ACL");
  const keepsSetGroup = which === "access" && !killSetGroupId && (attributes.mode & setGroupId) !== 0;
  if (keepsSetGroup && !isInGroup(who, attributes.gid)) throw refused("setgid of a group without the owner");
}

// --- parts ---

/** One that can have entries; anything else is the operation's to name. */
function directory(context: FileContext, inode: number): InodeRecord | undefined {
  const record = context.tables.inodes.get(context.volume, inode);
  return record?.attributes.type === "directory" && record.attributes.linkCount > 0 ? record : undefined;
}

function entry(context: FileContext, parent: number, name: string): EntryRecord | undefined {
  return context.tables.entries.get(context.volume, parent, name);
}

function allow(who: Asker, record: InodeRecord, bits: number): void {
  if (!mayAccess(who, record, bits)) throw denied(record);
}

function denied({ attributes }: InodeRecord): FileError {
  return new FileError("EACCES", `inode ${attributes.inode} doesn't allow it`);
}

function refused(reason: string): FileError {
  return new FileError("EPERM", reason);
}
