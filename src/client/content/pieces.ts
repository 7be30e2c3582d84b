/** Lists of buffers that stand for one run of bytes, so that nothing is copied only to be in one piece. */

/** The bytes from `from` up to `to` (exclusive) of the run, as views. */
export function slicePieces(pieces: readonly Uint8Array[], from: number, to: number): Uint8Array[] {
  const slice: Uint8Array[] = [];
  let position = 0;
  for (const piece of pieces) {
    const end = position + piece.byteLength;
    if (end > from && position < to) {
      slice.push(piece.subarray(Math.max(0, from - position), Math.min(piece.byteLength, to - position)));
    }
    position = end;
  }
  return slice;
}

/** The run in a buffer of its own. */
export function joinPieces(pieces: readonly Uint8Array[]): Buffer {
  return Buffer.concat(pieces as Uint8Array[]);
}
