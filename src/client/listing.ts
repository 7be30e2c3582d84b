/**
 * The names of directories, page by page: for those who list them, and ahead of those who look up one name after another.
 *
 * Programs that know the paths (git status, tar, make, a web server) look names up without listing the directory first: each
 * costs a round trip. To list the directory instead is far cheaper for many of them, and a waste for a few of very many.
 * So a directory counts the names that had to be asked for:
 *
 * 1. After every fourth the next page of the listing is fetched, with shared leases on what nobody else is changing.
 * 2. A page has twice as many names as were found at hand since the last one. Who looks up most of what is there has it
 *    soon, in large pages; who looks for a few in a directory of a million pays for 8 names with each that is asked for.
 * 3. Whoever has gone through one directory like that begins in the next one with a page instead of the first name.
 * 4. While the directory has changes that are not committed a page has to wait for them. So then only for who finds most of what he
 *    asks for: he writes over what is there (tar), and would ask for each name. Who makes new names gets on without.
 */
import { FileError } from "../errors/file-error.ts";
import { directoryEntriesMax, readDirectory as readDirectoryMethod } from "../wire/catalogue/leader.ts";
import { markAccessed } from "./access-times.ts";
import type { DirectoryNames, NamedEntry } from "./directory-names.ts";
import type { DirectoryEntry } from "./file-system.ts";
import { leaseTimeoutMs } from "./lease-rules.ts";
import type { MountSession } from "./mount-session.ts";
import type { Node } from "./node.ts";
import type { OpenHandle } from "./open-handle.ts";
import type { Operation } from "./waits.ts";

const askedBeforeListing = 4;
const aheadMin = 32;
/** Of a directory that was gone through half of the names were found at hand, or half of so many. */
const goneThroughMin = 8;

interface Page {
  readonly limit: number;
  readonly withLeases: boolean;
}

/** Before a name is looked up. Undefined: there is nothing to wait for. */
export function listAhead(
  mount: MountSession,
  parent: number,
  name: string,
  operation: Operation,
): Promise<void> | undefined {
  const { journal, leases } = mount;
  const directory = leases.held(parent, "shared");
  const names = directory?.names;
  if (directory === undefined || names === undefined) return undefined;
  const { lookups } = directory.use;
  if (names.knows(name)) {
    lookups.found += 1;
    lookups.foundInAll += 1;
    return undefined;
  }
  const isChanged = directory.lastPosition > journal.committedPosition;
  const before = names.listedUpTo === 0 && lookups.asked === 0 && !isChanged ? foundBefore(mount) : 0;
  lookups.asked += 1;
  if (before === 0 && lookups.asked < askedBeforeListing) return undefined;
  if (isChanged && 4 * lookups.there < 3 * (lookups.asked - 1)) return undefined;
  const limit = Math.min(Math.max(2 * before, 2 * lookups.found, aheadMin), directoryEntriesMax);
  // Who goes through the directories in this one looks these names up, too.
  if (leases.get(mount.directoryListed)?.record.parent !== parent) mount.directoryListed = parent;
  lookups.asked = 0;
  lookups.there = 0;
  lookups.found = 0;
  leases.pin(directory);
  return loadPage(mount, directory, names, { limit, withLeases: true }, operation)
    .catch(() => operation.check()) // the lookup itself tells what is wrong
    .finally(() => leases.done(directory));
}

/** How many names were found at hand in the directory that was listed ahead last; 0 if that was not worth it. */
function foundBefore({ leases, directoryListed }: MountSession): number {
  const before = leases.get(directoryListed);
  const some = before?.names?.list(0, goneThroughMin);
  if (before === undefined || some === undefined) return 0;
  const { foundInAll } = before.use.lookups;
  return 2 * foundInAll >= some.length ? foundInAll : 0;
}

/** Entries behind the cookie `after`; with attributes where they are at hand. */
export async function readDirectory(
  handle: OpenHandle,
  after: number,
  limit: number,
  withAttributes: boolean,
  operation: Operation,
): Promise<readonly DirectoryEntry[]> {
  const { mount, inode } = handle;
  const { leases, session } = mount;
  const most = Math.max(1, Math.min(limit, directoryEntriesMax));
  // Pinned while pages are loaded: one that has come is used, whoever wants the directory.
  const directory = await leases.use(inode, "shared", operation);
  try {
    for (;;) {
      if (!session.live) await session.whenLive(operation);
      const { names } = directory;
      if (names === undefined) throw new FileError("ENOTDIR");
      const entries = names.list(after, most);
      if (entries !== undefined) {
        markAccessed(handle, directory);
        return entries.map((entry) => listed(mount, entry, withAttributes));
      }
      await loadPage(mount, directory, names, { limit: directoryEntriesMax, withLeases: withAttributes }, operation);
      operation.check();
    }
  } finally {
    leases.done(directory);
  }
}

function listed({ leases }: MountSession, { name, entry }: NamedEntry, withAttributes: boolean): DirectoryEntry {
  const { inode, type, cookie } = entry;
  const node = withAttributes ? leases.held(inode, "shared") : undefined;
  return { name, inode, type, cookie, attributes: node?.record.attributes };
}

/** The next page of a directory's names. One at a time: who comes meanwhile waits for the same; its errors are the first's. */
async function loadPage(
  mount: MountSession,
  directory: Node,
  names: DirectoryNames,
  page: Page,
  operation: Operation,
): Promise<void> {
  if (directory.loading !== undefined) {
    operation.waitsFor = readDirectoryMethod.name;
    await directory.loading.catch(() => {});
    return;
  }
  directory.loading = fetchPage(mount, directory, names, page, operation).finally(() => {
    directory.loading = undefined;
  });
  await directory.loading;
}

async function fetchPage(
  { journal, session, leases }: MountSession,
  directory: Node,
  names: DirectoryNames,
  { limit, withLeases }: Page,
  operation: Operation,
): Promise<void> {
  names.beginPage();
  try {
    // The leader lists what is committed; what is changed from now on is known here, and newer.
    await journal.committed(directory.lastPosition, operation);
    const { inode, grant } = directory;
    const request = { directory: inode, held: grant, after: names.listedUpTo, limit };
    const answer = await session.request(
      readDirectoryMethod,
      { session: session.id, ...request, withLeases },
      operation,
      { timeoutMs: leaseTimeoutMs },
    );
    if (answer.parent !== undefined) leases.learn(answer.parent);
    for (const { child } of answer.entries) if (child !== undefined) leases.learn(child);
    if (directory.names === names) names.addPage(answer.entries, answer.entries.length < limit);
  } finally {
    names.endPage();
  }
}
