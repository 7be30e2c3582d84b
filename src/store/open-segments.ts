/** The store's log: a segment log of its own kind. */
import { SegmentLog, type SegmentLogOptions } from "../log/segment-log.ts";
import type { Platform } from "../platform/platform.ts";
import { segmentsPath } from "./store-directory.ts";

export function openSegments(platform: Platform, options: Omit<SegmentLogOptions, "kind">): Promise<SegmentLog> {
  return SegmentLog.open(platform, { ...options, directory: segmentsPath(options.directory), kind: "stor" });
}
