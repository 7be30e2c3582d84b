/**
 * What permission bits and ACLs allow (inode(7), acl(5), path_resolution(7)): for programs that use a volume without a kernel
 * before it. What they do here they do as the kernel's generic_permission and posix_acl_permission.
 */
import { FileError } from "../errors/file-error.ts";
import { type Asker, accessListName, allows, parseList } from "../namespace/access-control-lists.ts";
import { setGroupId } from "../namespace/inodes.ts";
import type { Attributes } from "../namespace/model.ts";
import type { FileSystem } from "./file-system.ts";

/** Who asks. */
export type Credentials = Asker;

const bits = { read: 4, write: 2, execute: 1 } as const;
export type Access = keyof typeof bits;

const sticky = 0o1000;
const groupBits = 0o070;

export function isInGroup({ gid, groups }: Credentials, group: number): boolean {
  return gid === group || groups.includes(group);
}

/** Only the owner changes mode and times. */
export function isOwner(who: Credentials, { uid }: Attributes): boolean {
  return who.uid === 0 || who.uid === uid;
}

/** The mode that the owner can give a file (chmod(2)): setgid only for a group that he is in. */
export function modeToGive(who: Credentials, { gid }: Attributes, mode: number): number {
  return who.uid === 0 || isInGroup(who, gid) ? mode : mode & ~setGroupId;
}

export class Permissions {
  readonly #fileSystem: Pick<FileSystem, "getExtendedAttribute">;
  readonly #who: Credentials;

  constructor(fileSystem: Pick<FileSystem, "getExtendedAttribute">, who: Credentials) {
    this.#fileSystem = fileSystem;
    this.#who = who;
  }

  async mayAccess(attributes: Attributes, access: Access): Promise<boolean> {
    const { mode, uid, gid, type } = attributes;
    const who = this.#who;
    // Root may do everything, but execute only what somebody may.
    if (who.uid === 0) return access !== "execute" || type === "directory" || (mode & 0o111) !== 0;
    const wanted = bits[access];
    if (who.uid === uid) return ((mode >> 6) & wanted) !== 0;
    // The group's bits are the mask of a list: without them it allows nothing, and isn't asked.
    if ((mode & groupBits) !== 0) {
      const list = await this.#listOf(attributes);
      if (list !== undefined) return allows(parseList(list), who, attributes, wanted);
    }
    return ((mode >> (isInGroup(who, gid) ? 3 : 0)) & wanted) !== 0;
  }

  /** Whether names may be made in the directory. */
  async mayAdd(directory: Attributes): Promise<boolean> {
    return (await this.mayAccess(directory, "write")) && (await this.mayAccess(directory, "execute"));
  }

  /** Whether the entry may be removed from the directory, or replaced in it. */
  async mayRemove(directory: Attributes, entry: Attributes): Promise<boolean> {
    if (!(await this.mayAdd(directory))) return false;
    const { uid } = this.#who;
    return (directory.mode & sticky) === 0 || uid === 0 || uid === entry.uid || uid === directory.uid;
  }

  async #listOf({ inode }: Attributes): Promise<Uint8Array | undefined> {
    try {
      return await this.#fileSystem.getExtendedAttribute(inode, accessListName);
    } catch (error) {
      if (error instanceof FileError && error.code === "ENODATA") return undefined;
      throw error;
    }
  }
}
