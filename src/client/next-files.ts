/**
 * The beginnings of the files that come next in a directory, asked for before somebody reads them.
 *
 * Programs read one small file after another (grep -r, tar, cp -r, a compiler and its headers): each costs a round trip to a
 * store, although its name and attributes are at hand, and the stores have nothing else to do meanwhile. So a directory
 * notes which of its files are read from their beginning:
 *
 * 1. If three in a row come in the order of the listing, or nearly, the next ones are asked for, all at once: twice as many
 *    as were read in a row, up to a bound. The next time is when half of them were read.
 * 2. Who has read a directory to its end, or has gone down from one that he reads in a row, begins where he has stopped: in a tree of
 *    small directories three files would be most of each.
 * 3. Only small files, and what larger ones begin with; and only under leases that are here: nothing is taken from anybody for it.
 * 4. A read anywhere else begins anew. So whoever reads files in another order pays nothing, and whoever stops midway has had
 *    at most twice as many brought as he has read.
 */
import { smallFileBytesMax } from "./content/reader.ts";
import { EntriesInRow, isAtEnd, nearEntries } from "./entries-in-row.ts";
import type { MountSession } from "./mount-session.ts";
import type { Node } from "./node.ts";

/** Some milliseconds of two stores' work. */
const filesAheadMax = 64;

/** How the files of a directory were read so far. */
export class FilesInRow extends EntriesInRow {
  constructor() {
    super(3, filesAheadMax);
  }
}

/** A file under a lease is read from its beginning. */
export function readNextFiles(mount: MountSession, file: Node): void {
  const { parent, parentCookie } = file.record;
  const directory = mount.leases.get(parent);
  const names = directory?.names;
  if (directory === undefined || names === undefined) return;
  const row = directory.use.files;
  if (row.cookie === parentCookie) return;
  const inRowBefore = row.cookie === 0 ? inRowOnTheWay(mount, directory) : row.inRow;
  row.note(parentCookie, names.list(row.cookie, nearEntries) ?? [], inRowBefore);
  mount.directoryRead = parent;
  const { lacking } = row;
  if (lacking === 0) return;
  const entries = names.list(row.aheadUpTo, lacking) ?? [];
  for (const { entry } of entries) {
    const next = entry.type === "file" ? mount.leases.held(entry.inode, "shared") : undefined;
    if (next !== undefined && next.mode !== "split") {
      mount.contents.reader.readBeginning(mount.contentOf(next), smallFileBytesMax);
    }
  }
  row.asked(entries);
}

/** How many files were read in a row by whoever now reads the first one of a directory. */
function inRowOnTheWay(mount: MountSession, { record }: Node): number {
  const before = mount.leases.get(mount.directoryRead);
  if (before?.names === undefined) return 0;
  const { files: row } = before.use;
  const goesDown = record.parent === before.inode && row.isInRow;
  return goesDown || isAtEnd(before.names, row) ? row.inRow : 0;
}
