/** Which chunks have leases under the split leases of which files. */
import type { Node } from "./node.ts";

export class ChunkNodes {
  readonly #chunks = new Map<Node, Set<Node>>();

  add(file: Node, chunk: Node): void {
    const chunks = this.#chunks.get(file);
    if (chunks === undefined) this.#chunks.set(file, new Set([chunk]));
    else chunks.add(chunk);
  }

  remove(file: Node, chunk: Node): void {
    const chunks = this.#chunks.get(file);
    chunks?.delete(chunk);
    if (chunks?.size === 0) this.#chunks.delete(file);
  }

  of(file: Node): Node[] {
    return [...(this.#chunks.get(file) ?? [])];
  }
}
