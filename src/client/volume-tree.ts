/**
 * A volume's files as a tree, for programs that don't mount it. Each call asks for the permissions that a kernel would; files
 * that are made belong to who asks.
 */
import { FileError } from "../errors/file-error.ts";
import { byteStringOf, textOf } from "../namespace/byte-strings.ts";
import type { Attributes } from "../namespace/model.ts";
import { isOwner, modeToGive } from "../namespace/permissions.ts";
import { type FileTree, pieceBytes, type TreeEntry } from "../platform/file-tree.ts";
import { directoryEntries } from "./directory-entries.ts";
import type { DirectoryEntry, FileSystem, Handle } from "./file-system.ts";
import { Paths, type Place } from "./paths.ts";
import { type Access, type Credentials, Permissions } from "./permissions.ts";

/** Of what is being made: nobody else may use it before its own mode is set. */
const unfinishedFileMode = 0o600;
const unfinishedDirectoryMode = 0o700;

export class VolumeTree implements FileTree {
  readonly #fileSystem: FileSystem;
  readonly #who: Credentials;
  readonly #permissions: Permissions;
  readonly #paths: Paths;

  constructor(fileSystem: FileSystem, who: Credentials) {
    this.#fileSystem = fileSystem;
    this.#who = who;
    this.#permissions = new Permissions(fileSystem, who);
    this.#paths = new Paths(fileSystem, this.#permissions);
  }

  async attributes(path: string, follow: boolean): Promise<Attributes | undefined> {
    try {
      return await this.#paths.resolve(path, follow);
    } catch (error) {
      if (error instanceof FileError && error.code === "ENOENT") return undefined;
      throw error;
    }
  }

  async look(path: string, follow: boolean): Promise<TreeEntry | undefined> {
    const found = await this.attributes(path, follow);
    return found && entryOf(found);
  }

  async list(path: string): Promise<string[]> {
    const names: string[] = [];
    for await (const { name } of this.#entries(await this.#allowed(path, "read"), false)) names.push(textOf(name));
    return names.sort();
  }

  /** The entries of a directory, with attributes, in the order in which the volume has them. */
  async *entries(path: string): AsyncGenerator<DirectoryEntry & { readonly attributes: Attributes }> {
    const directory = await this.#allowed(path, "read");
    for await (const entry of this.#entries(directory, true)) {
      const attributes = entry.attributes ?? (await this.#fileSystem.lookup(directory.inode, entry.name));
      // One that has gone meanwhile is not shown.
      if (attributes !== undefined) yield { ...entry, attributes };
    }
  }

  async *#entries(directory: Attributes, withAttributes: boolean): AsyncGenerator<DirectoryEntry> {
    if (directory.type !== "directory") throw new FileError("ENOTDIR");
    yield* directoryEntries(this.#fileSystem, directory.inode, withAttributes);
  }

  async *read(path: string): AsyncGenerator<Uint8Array> {
    const file = await this.#allowed(path, "read");
    if (file.type === "directory") throw new FileError("EISDIR");
    if (file.type !== "file") throw new FileError("EINVAL");
    const handle = await this.#fileSystem.open(file.inode, {});
    try {
      for (let offset = 0; ; ) {
        let length = 0;
        for (const part of await this.#fileSystem.read(handle, offset, pieceBytes)) {
          length += part.byteLength;
          yield part;
        }
        if (length === 0) return;
        offset += length;
      }
    } finally {
      this.#fileSystem.close(handle);
    }
  }

  async readLink(path: string): Promise<string> {
    const { inode } = await this.#paths.resolve(path, false);
    return textOf(await this.#fileSystem.readLink(inode));
  }

  async write(path: string, entry: TreeEntry, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const place = await this.#paths.place(path, true);
    const handle = place.found === undefined ? await this.#makeFile(place) : await this.#overwrite(place.found);
    try {
      let offset = 0;
      for await (const piece of pieces) {
        for (let written = 0; written < piece.byteLength; ) {
          const rest = piece.subarray(written);
          written += await this.#fileSystem.write(handle, offset + written, rest, { killPrivileges: true });
        }
        offset += piece.byteLength;
      }
      this.#fileSystem.flush(handle);
      await this.#finish(handle.inode, entry);
    } finally {
      this.#fileSystem.close(handle);
    }
  }

  /**
   * Copies a file within the volume: whole chunks share the blocks of the source's on the stores, only what is left at its end (and
   * small files) goes through this client.
   */
  async share(source: string, path: string, entry: TreeEntry, copied: (bytes: number) => void): Promise<void> {
    const file = await this.#allowed(source, "read");
    if (file.type !== "file") throw new FileError(file.type === "directory" ? "EISDIR" : "EINVAL");
    const place = await this.#paths.place(path, true);
    // Opened for writing it would be emptied.
    if (place.found?.inode === file.inode) throw new FileError("EINVAL", "a file can't be copied over itself");
    const from = await this.#fileSystem.open(file.inode, {});
    try {
      const to = place.found === undefined ? await this.#makeFile(place) : await this.#overwrite(place.found);
      try {
        for (let offset = 0; ; ) {
          const range = { from, offset, to, toOffset: offset, length: Number.MAX_SAFE_INTEGER - offset };
          const bytes = await this.#fileSystem.copyRange({ ...range, killPrivileges: true });
          if (bytes === 0) break;
          offset += bytes;
          copied(bytes);
        }
        this.#fileSystem.flush(to);
        await this.#finish(to.inode, entry);
      } finally {
        this.#fileSystem.close(to);
      }
    } finally {
      this.#fileSystem.close(from);
    }
  }

  async makeDirectory(path: string): Promise<void> {
    if ((await this.attributes(path, true))?.type === "directory") return;
    const place = await this.#paths.place(path, false);
    if (place.found !== undefined) throw new FileError("EEXIST");
    await this.#mayAdd(place.directory);
    const { uid, gid } = this.#who;
    const node = { type: "directory", mode: unfinishedDirectoryMode, uid, gid } as const;
    await this.#fileSystem.create(place.directory.inode, place.name, node);
  }

  async finishDirectory(path: string, entry: TreeEntry): Promise<void> {
    await this.#finish((await this.#paths.resolve(path, true)).inode, entry);
  }

  async makeSymlink(path: string, target: string): Promise<void> {
    const place = await this.#paths.place(path, false);
    if (place.found !== undefined) await this.#remove(place, place.found);
    await this.#mayAdd(place.directory);
    const { uid, gid } = this.#who;
    await this.#fileSystem.create(place.directory.inode, place.name, {
      type: "symlink",
      mode: 0o777,
      uid,
      gid,
      target: byteStringOf(target),
    });
  }

  /** A file, a symlink, or an empty directory. Errors: ENOENT, ENOTEMPTY, EACCES. */
  async remove(path: string): Promise<void> {
    const place = await this.#paths.place(path, false);
    if (place.found === undefined) throw new FileError("ENOENT");
    await this.#remove(place, place.found);
  }

  async sync(): Promise<void> {
    const root = await this.#fileSystem.open(this.#fileSystem.root, {});
    try {
      await this.#fileSystem.sync(root);
    } finally {
      this.#fileSystem.close(root);
    }
  }

  async #remove({ directory, name }: Place, found: Attributes): Promise<void> {
    if (!(await this.#permissions.mayRemove(directory, found))) throw new FileError("EACCES");
    if (found.type === "directory") await this.#fileSystem.removeDirectory(directory.inode, name);
    else await this.#fileSystem.unlink(directory.inode, name);
  }

  async #makeFile({ directory, name }: Place): Promise<Handle> {
    await this.#mayAdd(directory);
    const { uid, gid } = this.#who;
    const node = { type: "file", mode: unfinishedFileMode, uid, gid } as const;
    return (await this.#fileSystem.createAndOpen(directory.inode, name, node, {})).handle;
  }

  async #overwrite(found: Attributes): Promise<Handle> {
    if (found.type === "directory") throw new FileError("EISDIR");
    if (found.type !== "file") throw new FileError("EINVAL");
    if (!(await this.#permissions.mayAccess(found, "write"))) throw new FileError("EACCES");
    return await this.#fileSystem.open(found.inode, { truncate: true });
  }

  /** Somebody else's file that was only overwritten keeps its mode. */
  async #finish(inode: number, { mode, mtimeNs }: TreeEntry): Promise<void> {
    const { attributes } = await this.#fileSystem.getAttributes(inode);
    if (!isOwner(this.#who, attributes)) return;
    const given = modeToGive(this.#who, attributes, mode);
    await this.#fileSystem.setAttributes(inode, { mode: given, mtime: { kind: "at", ns: mtimeNs } });
  }

  async #mayAdd(directory: Attributes): Promise<void> {
    if (!(await this.#permissions.mayAdd(directory))) throw new FileError("EACCES");
  }

  async #allowed(path: string, access: Access): Promise<Attributes> {
    const found = await this.#paths.resolve(path, true);
    if (!(await this.#permissions.mayAccess(found, access))) throw new FileError("EACCES");
    return found;
  }
}

function entryOf({ type, size, mode, mtimeNs }: Attributes): TreeEntry {
  const known = type === "file" || type === "directory" || type === "symlink" ? type : "other";
  return { type: known, size, mode, mtimeNs };
}
