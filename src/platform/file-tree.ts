/** A tree of files that can be copied from and to: the machine's own (local-tree.ts), or a volume's (client/volume-tree.ts). */

export interface TreeEntry {
  /** `other`: fifos, sockets, devices. */
  readonly type: "file" | "directory" | "symlink" | "other";
  readonly size: number;
  /** Permission bits with setuid, setgid and sticky: 0–0o7777. */
  readonly mode: number;
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint;
}

/** Paths are text, names in them UTF-8. Errors have a `code`, the errno name (`ENOENT`, `EACCES`, …). */
export interface FileTree {
  /** What is at a path; `follow`: where a symlink there leads. Undefined if nothing is. */
  look(path: string, follow: boolean): Promise<TreeEntry | undefined>;
  /** Names in a directory, sorted. */
  list(path: string): Promise<string[]>;
  /** A file's data in order, in pieces of at most 1 MiB. A piece is valid until the next is asked for. */
  read(path: string): AsyncIterable<Uint8Array>;
  readLink(path: string): Promise<string>;
  /** Makes or replaces a file's data, then sets its mode and time. */
  write(path: string, entry: TreeEntry, pieces: AsyncIterable<Uint8Array>): Promise<void>;
  /** No error if it is there. The mode is set by `finishDirectory`. */
  makeDirectory(path: string): Promise<void>;
  /** Sets mode and time, when everything is in it. */
  finishDirectory(path: string, entry: TreeEntry): Promise<void>;
  /** Replaces what is there, but for a directory. */
  makeSymlink(path: string, target: string): Promise<void>;
  /** Everything that was done is on disk. */
  sync(): Promise<void>;
}

export const pieceBytes = 1024 * 1024;

/** `a/b`, whether `directory` ends with a slash or not. */
export function pathIn(directory: string, name: string): string {
  return directory === "" ? name : `${directory.replace(/\/+$/, "")}/${name}`;
}

/** Last name of a path; empty for the root. */
export function baseName(path: string): string {
  return path.replace(/\/+$/, "").split("/").at(-1)!;
}
