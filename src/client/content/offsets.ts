/** Offsets in a file and the blocks they lie in. */
import { blockBytes } from "../../namespace/model.ts";

export function floorBlock(offset: number): number {
  return Math.floor(offset / blockBytes) * blockBytes;
}

export function ceilBlock(offset: number): number {
  return Math.ceil(offset / blockBytes) * blockBytes;
}
