/** Histories by hand, for the tests of the checker: operations one after the other or overlapping, with their outcomes. */
import type { Attributes } from "../../client/file-system.ts";
import { LinearizabilityChecker } from "../checkers/linearizability.ts";
import type { FileOperation, Outcome } from "../file-operation.ts";
import { Model } from "../model.ts";
import { owner } from "../model-operations.ts";
import { taggedBytes } from "../tagged-data.ts";

export const root = 1;
export const done: Outcome = { kind: "done" };
export const absent: Outcome = { kind: "absent" };

export class History {
  readonly checker = new LinearizabilityChecker(Model.withRoot(root, 0o755, owner.uid, owner.gid));
  #count = 0;

  call(client: string, operation: FileOperation): number {
    this.#count += 1;
    this.checker.called(this.#count, client, operation);
    return this.#count;
  }

  step(client: string, operation: FileOperation, outcome: Outcome): number {
    const id = this.call(client, operation);
    this.checker.returned(id, outcome);
    return id;
  }

  /** Makes an empty file, and opens it if wanted. */
  file(client: string, inode: number, name: string, options: { parent?: number; open?: boolean } = {}): number {
    const { parent = root, open = false } = options;
    const operation = { kind: "create", parent, name, type: "file", mode: 0o644, target: "", open } as const;
    return this.step(client, operation, attributes(inode, {}));
  }

  directory(client: string, inode: number, name: string, parent = root): number {
    const operation = {
      kind: "create",
      parent,
      name,
      type: "directory",
      mode: 0o755,
      target: "",
      open: false,
    } as const;
    return this.step(client, operation, attributes(inode, { type: "directory", mode: 0o755, linkCount: 2 }));
  }

  write(client: string, inode: number, tag: number, offset: number, length: number): number {
    return this.step(client, write(inode, tag, offset, length), { kind: "written", length });
  }

  /** Each part is the tag of a write, or 0 for zeros, a number of bytes, and the offset of the write. */
  read(client: string, inode: number, offset: number, ...parts: [number, number, number?][]): number {
    let at = offset;
    const buffers = parts.map(([tag, length, base = 0]) => {
      const bytes = tag === 0 ? Buffer.alloc(length) : taggedBytes(tag, at - base, length);
      at += length;
      return bytes;
    });
    const bytes = Buffer.concat(buffers);
    return this.step(client, { kind: "read", inode, offset, length: at - offset }, { kind: "data", bytes });
  }

  sync(client: string, inode: number, handle = 0): number {
    return this.step(client, { kind: "sync", inode, handle }, done);
  }

  /** The names in the directory, all of them files with a number behind a colon: `a:10 b:11`. */
  lists(client: string, directory: number, names: string): number {
    const entries = names
      .split(" ")
      .filter(Boolean)
      .map((one) => {
        const [name, inode] = one.split(":");
        return { name: name!, inode: Number(inode) };
      });
    return this.step(client, { kind: "readDirectory", inode: directory }, { kind: "entries", entries });
  }
}

export function write(inode: number, tag: number, offset: number, length: number): FileOperation {
  return { kind: "write", inode, offset, length, tag };
}

export function attributes(inode: number, given: Partial<Attributes>): Outcome {
  const base = { type: "file", mode: 0o644, ...owner, linkCount: 1, size: 0 };
  return { kind: "attributes", attributes: { inode, ...base, ...given } as Attributes };
}
