/**
 * Chunks that the leader has deleted, which it never does to one that is or will be mapped; and numbers are not used twice. Requests from
 * before may still come: one that its client has given up and sent again can lie in the buffers of a connection for seconds. It
 * would make the chunk anew, of what nobody asks for, and on this store alone.
 *
 * Only as long as the process runs: its connections end with it.
 */

/** Some megabytes. As many as the removal of the largest trees deletes in the time in which a connection can be late. */
const rememberedMax = 131_072;

export class DeletedChunks {
  /** The oldest first. */
  readonly #chunks = new Set<number>();

  add(chunks: readonly number[]): void {
    for (const chunk of chunks) {
      this.#chunks.delete(chunk); // what is told again counts as new
      this.#chunks.add(chunk);
    }
    for (const oldest of this.#chunks) {
      if (this.#chunks.size <= rememberedMax) break;
      this.#chunks.delete(oldest);
    }
  }

  has(chunk: number): boolean {
    return this.#chunks.has(chunk);
  }
}
