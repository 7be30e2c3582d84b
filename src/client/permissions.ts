/**
 * Permissions (namespace/permissions.ts) for programs that use a volume without a kernel before it: they know attributes, and ask
 * for an ACL where the outcome depends on it.
 */
import { FileError } from "../errors/file-error.ts";
import { type Asker, accessListName } from "../namespace/access-control-lists.ts";
import type { Attributes } from "../namespace/model.ts";
import { allowsAccess, asksList, isKeptBySticky, wanted, writeAndSearch } from "../namespace/permissions.ts";
import type { FileSystem } from "./file-system.ts";

/** Who asks. */
export type Credentials = Asker;
export type Access = keyof typeof wanted;

export class Permissions {
  readonly #fileSystem: Pick<FileSystem, "getExtendedAttribute">;
  readonly #who: Credentials;

  constructor(fileSystem: Pick<FileSystem, "getExtendedAttribute">, who: Credentials) {
    this.#fileSystem = fileSystem;
    this.#who = who;
  }

  mayAccess(attributes: Attributes, access: Access): Promise<boolean> {
    return this.#allows(attributes, wanted[access]);
  }

  /** Whether names may be made in the directory. */
  mayAdd(directory: Attributes): Promise<boolean> {
    return this.#allows(directory, writeAndSearch);
  }

  /** Whether the entry may be removed from the directory, or replaced in it. */
  async mayRemove(directory: Attributes, entry: Attributes): Promise<boolean> {
    return (await this.mayAdd(directory)) && !isKeptBySticky(this.#who, directory, entry);
  }

  async #allows(attributes: Attributes, bits: number): Promise<boolean> {
    const list = asksList(this.#who, attributes) ? await this.#listOf(attributes) : undefined;
    return allowsAccess(this.#who, attributes, list, bits);
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
