/**
 * Builds the index again from the segments, where it is lost or damaged, or where the log is: the index is a fold over the
 * log's records, and most of them are still there.
 *
 * What is missing: records in damaged places, and those in segments that were removed when their data was dead (deletions
 * and clones; what they did to chunks whose data lies elsewhere is not known any more). So the result holds blocks that are
 * whole, under versions that are right, and still it may lack acknowledged ones and hold deleted ones. The store says so to
 * the leader (damage.ts), which takes it out of its groups; catching up then costs what differs, not a whole copy.
 *
 * 1. The damage is noted, with the word that the index is not to be used: whatever comes, the next start does this again.
 * 2. The old index is removed, and the log is read from its beginning (log/salvage.ts). Rows are committed without a position,
 *    which no start takes for an index.
 * 3. With the position, behind everything, the index is complete; when it is durable, the note says that it can be used.
 */
import type { Platform } from "../platform/platform.ts";
import { commitIndex } from "./checkpointer.ts";
import type { DamageNote } from "./damage.ts";
import { openSegments } from "./open-segments.ts";
import { decodeRecord } from "./record.ts";
import type { Opened } from "./replay.ts";
import { State } from "./state.ts";
import { indexPath, openIndex, writeMark } from "./store-directory.ts";

/** Errors: diskFailed, versionMismatch, invalid. */
export async function rebuildIndex(
  platform: Platform,
  options: { directory: string; segmentBytes: number; note: DamageNote },
): Promise<Opened> {
  const { directory, segmentBytes, note } = options;
  const logger = platform.logger.for("store");
  const reason = note.damage?.reason ?? "";
  logger.error("damaged: the index is built again from the segments", { directory, reason });
  await platform.keyValue.remove(indexPath(directory));
  const keyValue = await openIndex(platform, directory, note);
  try {
    const state = new State(keyValue, [], (damage) => note.noteIndex(damage), { isRebuilding: true });
    let recordCount = 0;
    const log = await openSegments(platform, {
      directory,
      segmentBytes,
      onRecord: (logged) => {
        state.apply(decodeRecord(logged.descriptor), logged);
        recordCount += 1;
        if (!state.index.isHeavy) return;
        state.save();
        keyValue.commit();
      },
      onDamage: (damages) => {
        for (const damage of damages) logger.error("damaged log", { damage });
      },
    });
    state.rebuilt();
    state.space.keepOnly(new Set(log.segments()));
    commitIndex(keyValue, state, log.end, 0);
    await keyValue.checkpoint();
    await writeMark(platform, directory);
    await note.note({ loss: "certain", rebuild: false, reason });
    logger.warn("the index is built again", { directory, recordCount, liveBytes: state.space.totalLiveBytes() });
    return { log, keyValue, state, segmentBytes, badBlocks: 0, marked: true, note };
  } catch (error) {
    await keyValue.close();
    throw error;
  }
}
