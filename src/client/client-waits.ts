/** Everything that waits in a client, for `brine waits`: operations of programs, write-back, and leases on their way out. */
import type { ProcessWait } from "../wire/catalogue/watch.ts";
import type { MountSession } from "./mount-session.ts";
import type { Node } from "./node.ts";
import type { WaitView } from "./waits.ts";

/** Leases on their way out that are looked at: a directory tree may be recalled as a whole. */
const leavingMax = 256;

/** @param operations of programs */
export function clientWaits(operations: readonly WaitView[], mount: MountSession | undefined): ProcessWait[] {
  const waits = operations.map(waitOf);
  if (mount === undefined || mount.ended) return waits;
  waits.push(...mount.contents.writeBack.list().map(waitOf));
  for (const node of mount.leases.nodes()) {
    if (node.leaving === undefined) continue;
    waits.push(leavingWait(node, mount));
    if (waits.length - operations.length > leavingMax) break;
  }
  return waits;
}

function waitOf({ operation, inode, waitsFor, sinceMs }: WaitView): ProcessWait {
  return { operation, inode, waitsFor, forMs: sinceMs };
}

function leavingWait(node: Node, mount: MountSession): ProcessWait {
  const { inode, leavingSinceMs } = node;
  return {
    operation: "giving back a lease",
    inode,
    waitsFor: whatLeavingWaitsFor(node, mount),
    forMs: mount.nowMs() - leavingSinceMs,
  };
}

/** The order of giving-back.ts. */
function whatLeavingWaitsFor(node: Node, { journal }: MountSession): string {
  if (node.servesData) return "the kernel, to give up its pages of the file";
  if (node.uses > 0) return `${node.uses} operations that use it`;
  if (journal.committedPosition < node.lastPosition) return "earlier changes to be committed";
  return "the leader, to be told";
}
