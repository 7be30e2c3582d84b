/**
 * Directories: OPENDIR, READDIR.
 *
 * READDIRPLUS is not served. The kernel takes the names in its answer for as new as the moment at which it reads them,
 * not the one at which it asked (fuse_direntplus_link reads the epoch): a name in an answer on its way would outlive
 * INC_EPOCH. The file system still fetches attributes along with names when lookups are near, as READDIRPLUS_AUTO decides
 * it: for the start of a directory, and further on if names in it were looked up meanwhile. LOOKUP then finds them there.
 */
import type { DirectoryEntry } from "../../client/file-system.ts";
import { FileError } from "../../errors/file-error.ts";
import { OpenFile } from "../handles.ts";
import { openFlag, openIn, readIn } from "../protocol.ts";
import { type ListedEntry, listedBytes } from "../replies.ts";
import type { Request } from "../request.ts";
import { inodeOf, type RequestContext } from "./context.ts";

/** Offsets in a listing: 1 is behind `.`, 2 behind `..`; an entry's own is its cookie and these two. */
const dotEntries = 2;
/** Entries asked for at once, so that an answer over the network stays small. */
const entriesMax = 1024;
/** A guess for how many fit: what does not is asked for again by the kernel's next request. */
const usualNameBytes = 16;

export async function openDirectory(context: RequestContext, request: Request): Promise<void> {
  const keepAccessTime = (request.u32(openIn.flags) & openFlag.NOATIME) !== 0;
  const handle = await context.fileSystem.open(inodeOf(context, request), { keepAccessTime }, request.signal);
  const number = context.openFiles.add(new OpenFile(context.fileSystem, handle, { append: false, write: false }));
  if (!context.replies.opened(request, number, false)) context.openFiles.close(number);
}

export async function readDirectory(context: RequestContext, request: Request): Promise<void> {
  request.expect(readIn.bytes);
  const { handle } = context.openFiles.get(request.u64(readIn.handle));
  const offset = request.u64(readIn.offset);
  const sizeBytes = request.u32(readIn.size);
  if (offset === undefined) throw new FileError("EINVAL");
  const { fileSystem, replies, recentLookups } = context;
  const wantsAttributes = recentLookups.delete(handle.inode) || offset === 0;
  const listed: ListedEntry[] = [];
  if (offset < dotEntries) {
    const { parent } = await fileSystem.getAttributes(handle.inode, request.signal);
    if (offset < 1) listed.push({ name: ".", inode: handle.inode, type: "directory", offset: 1 });
    listed.push({ name: "..", inode: parent, type: "directory", offset: 2 });
  }
  const after = Math.max(0, offset - dotEntries);
  const limit = Math.max(1, Math.min(entriesMax, Math.floor(sizeBytes / listedBytes(usualNameBytes))));
  const entries = await fileSystem.readDirectory(handle, after, limit, wantsAttributes, request.signal);
  for (const entry of entries) listed.push(listedEntry(entry));
  replies.listing(request, listed, sizeBytes);
}

function listedEntry(entry: DirectoryEntry): ListedEntry {
  const { name, inode, type, cookie } = entry;
  return { name, inode, type, offset: cookie + dotEntries };
}
