/** Extended attributes of one inode in memory. */
import { FileError } from "../../errors/file-error.ts";

export class MemoryAttributes {
  readonly #values = new Map<string, Uint8Array>();

  get(name: string): Uint8Array {
    const value = this.#values.get(name);
    if (value === undefined) throw new FileError("ENODATA");
    return value;
  }

  set(name: string, value: Uint8Array, mode: "set" | "create" | "replace"): void {
    if (mode === "create" && this.#values.has(name)) throw new FileError("EEXIST");
    if (mode === "replace") this.get(name);
    this.#values.set(name, Uint8Array.from(value));
  }

  names(): string[] {
    return [...this.#values.keys()];
  }

  remove(name: string): void {
    this.get(name);
    this.drop(name);
  }

  /** Whether or not it is there. */
  drop(name: string): void {
    this.#values.delete(name);
  }
}
