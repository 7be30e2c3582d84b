/** Where the scrub is; kept with the index. */
import { boolean, decode, encode, struct, u64 } from "../codec/schema.ts";
import type { KeyValue } from "../platform/key-value.ts";
import { scrubKey } from "./keys.ts";

const row = struct({ chunk: u64, beganMs: u64, done: boolean });

/** Where a pass is, in the index. */
export interface ScrubPosition {
  /** The last chunk that was read; 0: none of this pass. */
  readonly chunk: number;
  /** Wall clock; 0: there was no pass yet. */
  readonly beganMs: number;
  /** The pass is over. */
  readonly done: boolean;
}

export function readScrubPosition(keyValue: KeyValue): ScrubPosition {
  const bytes = keyValue.get(scrubKey);
  return bytes === undefined ? { chunk: 0, beganMs: 0, done: true } : decode(row, bytes);
}

export function writeScrubPosition(keyValue: KeyValue, position: ScrubPosition): void {
  keyValue.put(scrubKey, encode(row, position));
}
