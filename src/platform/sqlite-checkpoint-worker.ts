/**
 * Runs in a worker thread: checkpoints one SQLite database on request.
 *
 * PASSIVE syncs the WAL, copies what has been committed so far and syncs the database file, while the main thread goes on
 * reading and writing. If nothing was committed meanwhile, the next commit begins at the WAL's start again. Under steady
 * commits that never happens and the WAL grows; when it is long, TRUNCATE empties it. That locks out writers, so another
 * PASSIVE goes before it and leaves it little to do.
 */
import { parentPort, workerData } from "node:worker_threads";
import Database from "better-sqlite3";
import type { CheckpointAnswer } from "./sqlite-checkpointer.ts";

interface CheckpointResult {
  /** 1 if a lock could not be had. */
  busy: number;
  /** Frames in the WAL. */
  log: number;
  /** Frames of them that are in the database file. */
  checkpointed: number;
}

/** Passes of PASSIVE at most. Each one covers all commits before it; only a reader that stays in the way repeats it. */
const passesMax = 200;
/** Frames (pages of 4 KiB) from which on the WAL is emptied: 32 MiB, a second of heavy changes. */
const walFramesMax = 8192;
/** How long a pass waits for a lock that the main thread holds: for one of its synchronous calls. */
const lockWaitMs = 50;

const database = new Database(workerData as string, { timeout: lockWaitMs });
database.pragma("synchronous = FULL");
database.pragma("wal_autocheckpoint = 0");

parentPort!.on("message", () => parentPort!.postMessage(answer()));

function answer(): CheckpointAnswer {
  try {
    checkpoint();
    return { done: true };
  } catch (error) {
    return { done: false, ...described(error) };
  }
}

function checkpoint(): void {
  for (let pass = 0; pass < passesMax; pass++) {
    const passive = run("PASSIVE");
    const isWhole = passive.busy === 0 && passive.checkpointed >= passive.log;
    if (isWhole && passive.log < walFramesMax) return;
    if (isWhole) run("PASSIVE");
    // It waits for locks, PASSIVE does not. Busy is fine after a whole pass: all is durable, the next one shortens the WAL.
    if (run("TRUNCATE").busy === 0 || isWhole) return;
  }
  throw Object.assign(new Error("the database stayed locked"), { code: "EBUSY" });
}

function run(mode: "PASSIVE" | "TRUNCATE"): CheckpointResult {
  return (database.pragma(`wal_checkpoint(${mode})`) as CheckpointResult[])[0]!;
}

function described(error: unknown): { code: string; message: string } {
  const { code, message } = error as { code?: string; message: string };
  if (code === "SQLITE_FULL") return { code: "ENOSPC", message };
  if (code?.startsWith("SQLITE_CORRUPT")) return { code: "EUCLEAN", message };
  return { code: code?.startsWith("SQLITE_") === false ? code : "EIO", message };
}
