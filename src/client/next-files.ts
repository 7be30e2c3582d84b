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
import type { NamedEntry } from "./directory-names.ts";
import type { MountSession } from "./mount-session.ts";
import type { Node } from "./node.ts";

/** Entries that may be passed over: directories, files that are not of interest. */
const nearEntries = 8;
const inRowMin = 3;
/** Some milliseconds of two stores' work. */
const filesAheadMax = 64;

/** How the files of a directory were read so far. */
export class FilesInRow {
  /** Of the file that was read last. */
  cookie = 0;
  inRow = 0;
  /** Cookie of the last entry that was asked for, and how many from the present one to it. */
  aheadUpTo = 0;
  ahead = 0;

  /**
   * Notes a file that is read.
   * @param behind the entries behind the one that was read before
   * @param inRowBefore how many were read in a row before it, if it comes next
   */
  note(cookie: number, behind: readonly NamedEntry[], inRowBefore: number): void {
    const distance = behind.findIndex(({ entry }) => entry.cookie === cookie) + 1;
    this.inRow = distance === 0 ? 1 : inRowBefore + 1;
    this.ahead = distance === 0 ? 0 : Math.max(0, this.ahead - distance);
    if (this.ahead === 0) this.aheadUpTo = cookie;
    this.cookie = cookie;
  }

  /** How many entries are to be asked for now. */
  get lacking(): number {
    if (this.inRow < inRowMin) return 0;
    const wanted = Math.min(2 * this.inRow, filesAheadMax);
    return this.ahead > wanted / 2 ? 0 : wanted - this.ahead;
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
  row.ahead += entries.length;
  row.aheadUpTo = entries.at(-1)?.entry.cookie ?? row.aheadUpTo;
}

/** How many files were read in a row by whoever now reads the first one of a directory. */
function inRowOnTheWay(mount: MountSession, { record }: Node): number {
  const before = mount.leases.get(mount.directoryRead);
  if (before?.names === undefined) return 0;
  const { cookie, inRow } = before.use.files;
  if (record.parent === before.inode && inRow >= inRowMin) return inRow;
  const rest = before.names.list(cookie, nearEntries);
  return rest?.every(({ entry }) => entry.type !== "file") === true ? inRow : 0;
}
