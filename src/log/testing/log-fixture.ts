/** What tests of the log share: a platform around a FaultyDisk, and short ways to open and fill a log. */

import type { Platform } from "../../platform/platform.ts";
import { realPlatform } from "../../platform/real.ts";
import { realLogger } from "../../platform/real-logger.ts";
import { blockBytes } from "../segment-format.ts";
import { type LoggedRecord, SegmentLog, type SegmentLogOptions } from "../segment-log.ts";
import type { FaultyDisk } from "./faulty-disk.ts";

export const directory = "/log";

export function platformOn(disk: FaultyDisk): Platform {
  return { ...realPlatform(), logger: realLogger("error", () => {}), disk };
}

/** An open log and the records that its replay found. */
export async function openLog(
  disk: FaultyDisk,
  options: Partial<SegmentLogOptions> = {},
): Promise<{ log: SegmentLog; replayed: LoggedRecord[] }> {
  const replayed: LoggedRecord[] = [];
  const log = await SegmentLog.open(platformOn(disk), {
    directory,
    kind: "TEST",
    segmentBytes: 16 * blockBytes,
    onRecord: (record) => replayed.push(record),
    ...options,
  });
  return { log, replayed };
}

/** A payload that tells which record it belongs to. */
export function payloadOf(record: number, blocks: number): Uint8Array[] {
  return blocks === 0 ? [] : [Buffer.alloc(blocks * blockBytes, (record % 255) + 1)];
}

export function text(record: LoggedRecord): string {
  return Buffer.from(record.descriptor).toString();
}

export function segmentPath(segment: number): string {
  return `${directory}/${segment.toString(16).padStart(16, "0")}.segment`;
}
