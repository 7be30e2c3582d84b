/**
 * Times of last access (inode(7), atime), in the manner of `relatime`.
 *
 * The problem: on a local disk each read may change the inode. Here a change takes the exclusive lease, so two clients that
 * read the same file would take it from each other again and again.
 *
 * 1. The first read of an open file, and the first listing of an open directory, sets the time, and so does reading where a
 *    symlink leads, or following it. What the kernel answers from its own cache doesn't get here, nor do later reads of the
 *    same open.
 * 2. It does so only if that says something new: the last time is not later than the last change, or it is a day old.
 * 3. The operation (`access`) goes forward only, and so needs no more than the shared lease under which was read: nobody's
 *    lease is recalled for it. The entry goes through the journal like any other change; nobody waits for it.
 *
 * The price: who has the inode under a shared lease at the same time goes on seeing the earlier time until it asks for a lease
 * again. That is the one attribute that mounts may see differently. Under a split lease the time stands still.
 */
import type { Attributes } from "../namespace/model.ts";
import { mayRead } from "../namespace/permissions.ts";
import { changePinned } from "./changes.ts";
import type { MountSession } from "./mount-session.ts";
import type { Node } from "./node.ts";
import type { OpenHandle } from "./open-handle.ts";

/** `strict`: also if it says nothing new. */
export type AccessTimes = "none" | "relative" | "strict";

/** As long as with Linux' relatime. */
const staleNs = 24n * 3_600n * 1_000_000_000n;

/** The handle's inode is being read, under the lease of its node, which is pinned. */
export function markAccessed(handle: OpenHandle, node: Node): void {
  handle.isAccessed ||= markNode(handle.mount, node);
}

/** A symlink is being read or followed, in the turn in which its node is there under a lease. */
export function markFollowed(mount: MountSession, node: Node): void {
  markNode(mount, node);
}

/** False: the next read has to. */
function markNode(mount: MountSession, node: Node): boolean {
  if (node.mode !== "shared" && node.mode !== "exclusive") return false;
  if (mount.accessTimes === "none") return true;
  const { user } = mount.session;
  if (user !== undefined && !mayRead(user, node.record)) return true;
  const { attributes } = node.record;
  if (mount.accessTimes === "strict" || saysNews(attributes, mount.session.clock.nowNs())) {
    if (!mount.journal.hasRoom) return false;
    changePinned(mount, node, { kind: "access", inode: node.inode }, undefined);
  }
  return true;
}

function saysNews({ atimeNs, mtimeNs, ctimeNs }: Attributes, nowNs: bigint): boolean {
  return atimeNs <= mtimeNs || atimeNs <= ctimeNs || nowNs - atimeNs >= staleNs;
}
