/**
 * Makes an older state fit to go on with: one from a backup, or that of a copy of the ledger that lacks its last entries
 * (raise-numbers.ts). The cluster has gone on since: numbers that the state takes for new ones have been used, and stores know
 * generations above the state's. So everything that counts is raised by far more than can have been used, and nothing is ever
 * used for a second time.
 */
import { encode } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import { groupKey, table, tableEnd, tableKey } from "./keys.ts";
import { chunkNumbersPerGroup, type GroupRecord, groupMax, groupRecord } from "./model.ts";
import { decodeRow, headerRow } from "./rows.ts";
import { type State, scanUpTo } from "./state.ts";
import type { Counter } from "./tables/header.ts";

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
 * A session of the older state: so many have never been opened since. Its client goes on with what it has seen and changed afterwards,
 * none of which is there any more.
 *
 * @param below of the state: every session that was ever opened has a number below it
 */
export function isFromBeforeRestore(session: number, below: number): boolean {
  return session + sessionsSkipped <= below;
}

/** Errors: invalid (the state has been restored so often that its numbers are used up, or it is empty), internal (damaged). */
export function raiseNumbersOf(state: State): void {
  const headerKey = tableKey(table.header);
  const row = state.get(headerKey);
  if (row === undefined) throw new BrineError("invalid", "the backup holds no metadata");
  const header = decodeRow(headerRow, row, headerKey);
  for (const [counter, next] of raisedCounters((name) => header[name])) header[counter] = next;
  state.put(headerKey, encode(headerRow, header));
  const all = Number.POSITIVE_INFINITY;
  for (const [key, groupRow] of scanUpTo(state, tableKey(table.group), tableEnd(table.group), all)) {
    const group = raisedGroup(decodeRow(groupRecord, groupRow, key));
    state.put(groupKey(group.group), encode(groupRecord, group));
  }
}

/** Errors: invalid. */
export function raisedCounters(present: (counter: Counter) => number): [Counter, number][] {
  return [
    ["nextInode", raised("inodes", present("nextInode"), inodesSkipped, Number.MAX_SAFE_INTEGER)],
    ["nextSession", raised("sessions", present("nextSession"), sessionsSkipped, Number.MAX_SAFE_INTEGER)],
    ["nextStore", raised("stores", present("nextStore"), storesSkipped, 2 ** 32 - 1)],
    ["nextGroup", Math.min(present("nextGroup") + groupsSkipped, groupMax + 1)],
  ];
}

/** Errors: invalid. */
export function raisedGroup(group: GroupRecord): GroupRecord {
  const generation = raised("generations", group.generation, generationsSkipped, 2 ** 32 - 1);
  const nextNumber = raised("chunks", group.nextNumber, chunksSkipped, chunkNumbersPerGroup);
  return { ...group, generation, nextNumber };
}

function raised(what: string, next: number, by: number, max: number): number {
  if (next + by <= max) return next + by;
  throw new BrineError("invalid", `the numbers of ${what} are used up: the metadata was restored too often`, {
    advice: "copy the files into a new cluster",
  });
}
