/** Directories: OPENDIR, READDIR, READDIRPLUS. */
import type { DirectoryEntry } from "../../client/file-system.ts";
import { FileError } from "../../errors/file-error.ts";
import { OpenFile } from "../handles.ts";
import { readIn } from "../protocol.ts";
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
  const handle = await context.fileSystem.open(inodeOf(context, request), {}, request.signal);
  const number = context.openFiles.add(new OpenFile(context.fileSystem, handle, false));
  if (!context.replies.opened(request, number)) context.openFiles.close(number);
}

export function readDirectory(context: RequestContext, request: Request): Promise<void> {
  return list(context, request, false);
}

export function readDirectoryPlus(context: RequestContext, request: Request): Promise<void> {
  return list(context, request, true);
}

async function list(context: RequestContext, request: Request, plus: boolean): Promise<void> {
  request.expect(readIn.bytes);
  const { handle } = context.openFiles.get(request.u64(readIn.handle));
  const offset = request.u64(readIn.offset);
  const sizeBytes = request.u32(readIn.size);
  if (offset === undefined) throw new FileError("EINVAL");
  const { fileSystem, replies } = context;
  const listed: ListedEntry[] = [];
  if (offset < dotEntries) {
    const { parent } = await fileSystem.getAttributes(handle.inode, request.signal);
    if (offset < 1)
      listed.push({ name: ".", inode: handle.inode, type: "directory", attributes: undefined, offset: 1 });
    listed.push({ name: "..", inode: parent, type: "directory", attributes: undefined, offset: 2 });
  }
  const after = Math.max(0, offset - dotEntries);
  const room = Math.floor(sizeBytes / listedBytes(usualNameBytes, plus));
  const limit = Math.max(1, Math.min(entriesMax, room));
  const entries = await fileSystem.readDirectory(handle, after, limit, plus, request.signal);
  for (const entry of entries) listed.push(listedEntry(entry));
  replies.listing(request, handle.inode, listed, sizeBytes, plus);
}

function listedEntry(entry: DirectoryEntry): ListedEntry {
  const { name, inode, type, attributes, cookie } = entry;
  return { name, inode, type, attributes, offset: cookie + dotEntries };
}
