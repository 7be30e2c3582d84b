/**
 * Which nodes the kernel knows, as far as we can know it: how often each was given to it, less how often it has said
 * FORGET. What was given may not have arrived yet, and a FORGET may be on its way here.
 *
 * The root is always known, and never forgotten.
 */
import { rootNode } from "./protocol.ts";

export class KernelNodes {
  readonly #given = new Map<number, number>();
  /** Files whose CREATE was answered, and about which the kernel has asked nothing since. Each is open. */
  readonly #new = new Set<number>();

  /** An answer that names the node has been handed to the kernel. */
  give(node: number): void {
    if (node !== rootNode) this.#given.set(node, (this.#given.get(node) ?? 0) + 1);
  }

  /** The answer that was handed over last has made the node, and opens it. */
  setNew(node: number): void {
    this.#new.add(node);
  }

  /** A request about the node has come: whatever made it has been taken. */
  seen(node: number): void {
    if (this.#new.size > 0) this.#new.delete(node);
  }

  /** The answer that made it may still be on its way. */
  isNew(node: number): boolean {
    return this.#new.has(node);
  }

  /** FORGET came. Returns true if that was all that was given. */
  forget(node: number, count: number): boolean {
    const left = (this.#given.get(node) ?? 0) - count;
    if (left > 0) this.#given.set(node, left);
    else {
      this.#given.delete(node);
      this.#new.delete(node);
    }
    return left <= 0;
  }

  /** False: the kernel does not know the node, and no answer is on its way that names it. */
  has(node: number): boolean {
    return node === rootNode || this.#given.has(node);
  }

  get count(): number {
    return this.#given.size;
  }
}
