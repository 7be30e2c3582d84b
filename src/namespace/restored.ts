/**
 * Makes a state from a backup fit to go on with. Between the backup and the loss the cluster has gone on: numbers that the
 * state takes for new ones have been used, and stores know generations above the state's. So everything that counts is
 * raised by far more than can have been used, and nothing is ever used for a second time.
 */
import { encode } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import { groupKey, table, tableEnd, tableKey } from "./keys.ts";
import { chunkNumbersPerGroup, groupMax, groupRecord } from "./model.ts";
import { decodeRow, headerRow } from "./rows.ts";
import { type State, scanUpTo } from "./state.ts";

/** Each leaves room for many hundreds of restores, and is beyond what a cluster uses up in years; of groups see below. */
const inodesSkipped = 2 ** 40;
const sessionsSkipped = 2 ** 32;
/** 4 PiB in one group. */
const chunksSkipped = 2 ** 30;
const generationsSkipped = 2 ** 20;
/** People read them. */
const storesSkipped = 1_000;
/**
 * There are few: a volume takes 32, a placement rule as many. Stores tell of those that they know beyond (skip-groups.ts). When they are used
 * up, no volume can be made any more; what is there can be restored all the same.
 */
const groupsSkipped = 128;

/**
 * A session of the backup: so many have never been opened since. Its client goes on with what it has seen and changed after the
 * backup, none of which is there any more.
 *
 * @param below of the state: every session that was ever opened has a number below it
 */
export function isFromBeforeRestore(session: number, below: number): boolean {
  return session + sessionsSkipped <= below;
}

/** Errors: invalid (the state has been restored so often that its numbers are used up, or it is empty), internal (damaged). */
export function raiseNumbers(state: State): void {
  const headerKey = tableKey(table.header);
  const row = state.get(headerKey);
  if (row === undefined) throw new BrineError("invalid", "the backup holds no metadata");
  const header = decodeRow(headerRow, row, headerKey);
  header.nextInode = raised("inodes", header.nextInode, inodesSkipped, Number.MAX_SAFE_INTEGER);
  header.nextSession = raised("sessions", header.nextSession, sessionsSkipped, Number.MAX_SAFE_INTEGER);
  header.nextStore = raised("stores", header.nextStore, storesSkipped, 2 ** 32 - 1);
  header.nextGroup = Math.min(header.nextGroup + groupsSkipped, groupMax + 1);
  state.put(headerKey, encode(headerRow, header));
  const all = Number.POSITIVE_INFINITY;
  for (const [key, groupRow] of scanUpTo(state, tableKey(table.group), tableEnd(table.group), all)) {
    const group = decodeRow(groupRecord, groupRow, key);
    group.generation = raised("generations", group.generation, generationsSkipped, 2 ** 32 - 1);
    group.nextNumber = raised("chunks", group.nextNumber, chunksSkipped, chunkNumbersPerGroup);
    state.put(groupKey(group.group), encode(groupRecord, group));
  }
}

function raised(what: string, next: number, by: number, max: number): number {
  if (next + by <= max) return next + by;
  throw new BrineError("invalid", `the numbers of ${what} are used up: the metadata was restored too often`, {
    advice: "copy the files into a new cluster",
  });
}
