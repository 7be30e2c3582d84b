/** A record, or a wish for a commit, that waits to be written to the log. */
import type { LoggedRecord } from "./segment-log.ts";

export interface Append {
  /** Undefined: only a commit is wanted, no record. */
  readonly descriptor: Uint8Array | undefined;
  readonly payload: readonly Uint8Array[];
  readonly payloadBytes: number;
  /** CRC32C of the payload, if whoever appends knows it. */
  readonly payloadChecksum?: number | undefined;
  resolve(record: LoggedRecord): void;
  reject(error: unknown): void;
}

export function isRecord(append: Append): append is Append & { descriptor: Uint8Array } {
  return append.descriptor !== undefined;
}

export function queuedBytesOf(append: Append): number {
  return (append.descriptor?.byteLength ?? 0) + append.payloadBytes;
}
