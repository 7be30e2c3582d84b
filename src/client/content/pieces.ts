/** Lists of buffers that stand for one run of bytes, so that nothing is copied only to be in one piece. */

/** The run in a buffer of its own. */
export function joinPieces(pieces: readonly Uint8Array[]): Buffer {
  return Buffer.concat(pieces as Uint8Array[]);
}
