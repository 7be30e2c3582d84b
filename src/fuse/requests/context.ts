/** What every request's handler works with, and what a handler is. */
import type { FileSystem } from "../../client/file-system.ts";
import { FileError } from "../../errors/file-error.ts";
import type { OpenFiles } from "../handles.ts";
import type { Tasks } from "../interrupts.ts";
import type { KernelSizes } from "../kernel-sizes.ts";
import type { NodeNumbers } from "../layout.ts";
import type { LockOwners } from "../lock-owners.ts";
import type { MappedPages } from "../mapped-pages.ts";
import type { Notifications } from "../notifications.ts";
import type { Replies } from "../replies.ts";
import type { Request } from "../request.ts";
import type { ScratchBuffers } from "../scratch-buffers.ts";

export interface RequestContext {
  readonly fileSystem: FileSystem;
  readonly nodes: NodeNumbers;
  readonly openFiles: OpenFiles;
  readonly replies: Replies;
  readonly caches: Notifications;
  readonly pages: MappedPages;
  readonly sizes: KernelSizes;
  readonly lockOwners: LockOwners;
  readonly tasks: Tasks;
  /** Bytes of the structure before name and value in SETXATTR: as agreed in INIT. */
  setXattrBytes: number;
  readonly scratch: ScratchBuffers;
  /** Inodes of directories in which a name was looked up since their last listing. A hint: see directories.ts. */
  readonly recentLookups: Set<number>;
}

/**
 * Handles one opcode: takes its arguments before the first `await`, asks the file system, answers through
 * `context.replies`. A FileError that it throws is answered with its number; anything else is a defect and answered with
 * EIO.
 */
export type RequestHandler = (context: RequestContext, request: Request) => Promise<void> | void;

/** The inode that the request is about. Throws FileError ESTALE for a node id that was never given out. */
export function inodeOf(context: RequestContext, request: Request): number {
  return knownInode(context, request.node);
}

/** The inode of a node id among the arguments. Throws FileError ESTALE for one that was never given out. */
export function knownInode(context: RequestContext, node: number | undefined): number {
  if (node === undefined || Number.isNaN(node) || node === 0) throw new FileError("ESTALE");
  return context.nodes.inodeOf(node);
}
