/**
 * What a session's user is told. Attributes are always: stat(2) needs no permission on the file itself, and that to search the
 * directories above isn't seen from an inode's number. A mount's session, which has no user, is told everything.
 */
import { FileError } from "../errors/file-error.ts";
import type { InodeRecord, SessionUser } from "../namespace/model.ts";
import { mayAccess, mayLookUp, mayUseData, wanted } from "../namespace/permissions.ts";

/** Where the data of a file lies. */
export function tellsData(user: SessionUser | undefined, record: InodeRecord): boolean {
  return user === undefined || mayUseData(user, record);
}

/** A name of a directory that is asked for. */
export function tellsNames(user: SessionUser | undefined, directory: InodeRecord | undefined): boolean {
  return user === undefined || directory === undefined || mayLookUp(user, directory);
}

/** All names of a directory. */
export function tellsListing(user: SessionUser | undefined, directory: InodeRecord | undefined): boolean {
  return user === undefined || directory === undefined || mayAccess(user, directory, wanted.read);
}

export function notTold(inode: number): FileError {
  return new FileError("EACCES", `inode ${inode} is not this user's to read`);
}
