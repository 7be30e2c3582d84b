/**
 * Leases on the entries of a directory, many at once, for programs that go through a whole tree: rm -rf, find, cp -a.
 *
 * The problem: the listing of a directory brings names, and shared leases as far as nobody is in the way. Another client that
 * has made the tree still has the exclusive ones, and whoever removes names needs these for himself: a round trip, and
 * a recall, for each file. To ask for all leases with the listing would be wrong, too: `ls` in a directory in which others
 * work would take everything from them.
 *
 * 1. A directory counts the entries that were looked up, or removed, while their leases were elsewhere. The first is asked
 *    for alone.
 * 2. From the second on the next siblings are asked for together with it, in the order of the listing.
 * 3. Whoever has removed an entry of a directory, and goes on in one below it, removes a tree: there it begins with the
 *    first one, and a lookup (unlink(2) begins with one) asks for the exclusive leases at once.
 * 4. If others don't give some back soon, they are using them: it is a while before it is tried again here.
 */
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import { satisfies } from "./lease-rules.ts";
import type { MountSession } from "./mount-session.ts";
import type { Node } from "./node.ts";
import type { Operation } from "./waits.ts";

const siblingsAtOnce = 256;
/** So many entries are asked for alone after siblings could not all be had. */
const aloneAfterFailure = 16;

/** Before a name is looked up or removed. Undefined: there is nothing to wait for. */
export function takeSiblings(
  mount: MountSession,
  parent: number,
  name: string,
  mode: LeaseMode,
  operation: Operation,
): Promise<void> | undefined {
  const directory = mount.leases.get(parent);
  const names = directory?.names;
  if (names === undefined || !names.knows(name)) return undefined;
  const entry = names.get(name);
  if (entry === undefined || satisfies(mount.leases.get(entry.inode)?.mode, mode)) return undefined;
  const taken = modeToTake(mount, directory!, mode);
  const siblings = taken === undefined ? undefined : names.list(entry.cookie - 1, siblingsAtOnce);
  if (taken === undefined || siblings === undefined) return undefined;
  const inodes = siblings.map((sibling) => sibling.entry.inode);
  return mount.leases.batches.acquire(inodes, taken, operation).then((hasAll) => {
    if (!hasAll) directory!.use.lackedInRow[mode] = -aloneAfterFailure;
  });
}

/** Counts the entry. Undefined: it is to be asked for alone. */
function modeToTake({ leases }: MountSession, directory: Node, mode: LeaseMode): LeaseMode | undefined {
  const { lackedInRow } = directory.use;
  lackedInRow[mode] += 1;
  if (lackedInRow[mode] < 0) return undefined;
  const above = leases.get(directory.record.parent);
  const isTree = above !== undefined && above !== directory && above.use.lackedInRow.exclusive > 0;
  if (isTree || lackedInRow.exclusive > 1) return "exclusive";
  return lackedInRow[mode] > 1 ? mode : undefined;
}
