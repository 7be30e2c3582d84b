/**
 * Paths on a volume that no kernel walks for us (path_resolution(7)): name by name from the root, through symlinks, with the
 * permission to search each directory. Absolute symlinks lead to the volume's own root, as in a chroot.
 */
import { FileError } from "../errors/file-error.ts";
import { byteStringOf } from "../namespace/byte-strings.ts";
import { type Attributes, nameBytesMax } from "../namespace/model.ts";
import type { FileSystem } from "./file-system.ts";
import type { Permissions } from "./permissions.ts";

/** As Linux (MAXSYMLINKS). */
const symlinksMax = 40;

/** Where a name is, or would be. */
export interface Place {
  readonly directory: Attributes;
  /** As the namespace has it: one character a byte. */
  readonly name: string;
  readonly found: Attributes | undefined;
}

/** A name as people write it. */
function nameOfText(text: string): string {
  const name = byteStringOf(text);
  if (name.length > nameBytesMax) throw new FileError("ENAMETOOLONG");
  return name;
}

export class Paths {
  readonly #fileSystem: FileSystem;
  readonly #permissions: Permissions;

  constructor(fileSystem: FileSystem, permissions: Permissions) {
    this.#fileSystem = fileSystem;
    this.#permissions = permissions;
  }

  /** What is at the path; `follow`: where a symlink there leads. Errors: ENOENT, ENOTDIR, EACCES, ELOOP, ENAMETOOLONG. */
  async resolve(path: string, follow: boolean): Promise<Attributes> {
    const { found } = await this.#walk(path, follow || path.endsWith("/"));
    if (found === undefined) throw new FileError("ENOENT");
    if (path.endsWith("/") && found.type !== "directory") throw new FileError("ENOTDIR");
    return found;
  }

  /** The place of the last name. Errors: as `resolve`, and EINVAL for a path without a name of its own (`/`, `..`). */
  async place(path: string, follow: boolean): Promise<Place> {
    const { directory, name, found } = await this.#walk(path, follow);
    if (name === undefined) throw new FileError("EINVAL");
    return { directory, name, found };
  }

  async #walk(
    path: string,
    follow: boolean,
  ): Promise<{ directory: Attributes; name: string | undefined; found: Attributes | undefined }> {
    const left = namesOf(path).map(nameOfText);
    const root = await this.#attributes(this.#fileSystem.root);
    let place = { directory: root, name: undefined as string | undefined, found: root as Attributes | undefined };
    let symlinks = 0;
    for (let name = left.shift(); name !== undefined; name = left.shift()) {
      const directory = place.found;
      if (directory === undefined) throw new FileError("ENOENT");
      if (directory.type !== "directory") throw new FileError("ENOTDIR");
      if (!(await this.#permissions.mayAccess(directory, "execute"))) throw new FileError("EACCES");
      if (name === "..") {
        const { parent } = await this.#fileSystem.getAttributes(directory.inode);
        const above = await this.#attributes(parent);
        place = { directory: above, name: undefined, found: above };
        continue;
      }
      const found = await this.#fileSystem.lookup(directory.inode, name);
      place = { directory, name, found };
      if (found?.type !== "symlink" || (left.length === 0 && !follow)) continue;
      symlinks += 1;
      if (symlinks > symlinksMax) throw new FileError("ELOOP");
      const target = await this.#fileSystem.readLink(found.inode);
      left.unshift(...namesOf(target));
      const start = target.startsWith("/") ? root : directory;
      place = { directory: start, name: undefined, found: start };
    }
    return place;
  }

  async #attributes(inode: number): Promise<Attributes> {
    return (await this.#fileSystem.getAttributes(inode)).attributes;
  }
}

function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "" && name !== ".");
}
