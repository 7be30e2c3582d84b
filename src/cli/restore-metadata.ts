/**
 * `brine restore-metadata`: a data directory whose server goes on from a backup, after the metadata itself was lost.
 *
 * 1. The directory is new, or that of a server of the same cluster whose metadata is gone (its store stays).
 * 2. The whole file is read and checked before anything is made.
 * 3. The state is filled and made durable, its numbers are raised (namespace/restored.ts), and its ledger begins behind it,
 *    with a term above every term that the lost one can have had.
 * 4. Last, format.json is written: before it the directory is none of a server, and the restore can be begun again.
 */
import { Command, Option } from "commander";
import { BrineError } from "../errors/brine-error.ts";
import { createFileLedger } from "../ledger/file/file-ledger.ts";
import { encodeBatch } from "../metadata/batch.ts";
import { termAfterRestore } from "../metadata/grants.ts";
import { beginHistory } from "../metadata/history.ts";
import { raiseNumbersOf } from "../namespace/restored.ts";
import { DiskError, type DiskFile } from "../platform/disk.ts";
import type { Platform } from "../platform/platform.ts";
import { absolutePath, print } from "../platform/processes.ts";
import { realPlatform } from "../platform/real.ts";
import { type DataDirectory, initialiseDataDirectory, openDataDirectory, writeIdentity } from "./data-directory.ts";
import { type BackupHead, readBackup } from "./metadata-backup.ts";
import { parseRoles } from "./roles.ts";

const rowsInCommit = 20_000;

export function restoreMetadataCommand(): Command {
  return new Command("restore-metadata")
    .description("Make a data directory from a backup of the metadata, after the metadata was lost.")
    .argument("<file>", "made by brine backup-metadata")
    .requiredOption("--data <directory>", "new, or that of a server of the cluster whose metadata is gone")
    .addOption(
      new Option("--roles <roles>", "of a new directory's server: metadata, or metadata,store")
        .argParser(parseRoles)
        .default(["metadata", "store"], "metadata,store"),
    )
    .addHelpText(
      "after",
      `
What was changed since the backup is lost. The server that had the metadata must never be started again.

Example:
  brine restore-metadata /backup/brine.backup --data /srv/brine
  brine server --data /srv/brine --listen 127.0.0.1:7411`,
    )
    .action(async (file: string, options: { data: string; roles: string[] }) => {
      const platform = realPlatform({ logLevel: "warn", logTo: print });
      const { head, rows } = await restore(platform, absolutePath(file), absolutePath(options.data), options.roles);
      const made = new Date(Number(head.madeNs / 1_000_000n)).toISOString();
      print(`${options.data} has the metadata of cluster ${head.clusterId} as of ${made} (${rows} rows)
start it with "brine server --data ${options.data} --listen HOST:PORT", at the address that the lost server had`);
    });
}

/** Errors: those of the file, invalid, wrongCluster, busy, noSpace. */
async function restore(
  platform: Platform,
  path: string,
  data: string,
  roles: readonly string[],
): Promise<{ head: BackupHead; rows: number }> {
  if (!roles.includes("metadata")) {
    throw new BrineError("invalid", "a server with metadata has the role metadata", { advice: "leave --roles out" });
  }
  const file = await open(platform, path);
  try {
    let head: BackupHead | undefined;
    for await (const part of readBackup(file, path)) if ("head" in part) head = part.head;
    if (head === undefined) throw new BrineError("badChecksum", `${path} has no head`);
    const term = termAfterRestore(head.term);
    const directory = await openDataDirectory(platform.disk, data, ["metadata"]);
    try {
      await checkTarget(platform, directory, head);
      const rows = await fill(platform, file, path, `${data}/metadata`, { ...head, term });
      await beginHistory(platform, `${data}/metadata`);
      // What was promised about the lost ledger, and who kept it, is over: this one has no second copy yet.
      await platform.disk.remove(`${data}/ballot`);
      await platform.disk.syncDirectory(data);
      if (directory.identity === undefined) {
        const owner = { clusterId: head.clusterId, roles, leaders: [] };
        await initialiseDataDirectory(platform, data, owner);
      } else {
        // It leads: it must not look for a leader of former times, to be its copy.
        await writeIdentity(platform, data, { ...directory.identity, leaders: [] });
      }
      return { head, rows };
    } finally {
      directory.release();
    }
  } finally {
    await file.close();
  }
}

async function open({ disk }: Platform, path: string): Promise<DiskFile> {
  try {
    return await disk.open(path);
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    throw new BrineError("notFound", `${path} can't be read: ${error.code}`, { cause: error });
  }
}

async function checkTarget({ disk }: Platform, { path, identity }: DataDirectory, head: BackupHead): Promise<void> {
  if (identity === undefined) return; // what a restore that was broken off has left is replaced
  if (identity.clusterId !== head.clusterId) {
    throw new BrineError(
      "wrongCluster",
      `${path} belongs to cluster ${identity.clusterId}, the backup to ${head.clusterId}`,
    );
  }
  if (!identity.roles.includes("metadata")) {
    throw new BrineError("invalid", `the server of ${path} is a store only`, { advice: "choose a new directory" });
  }
  const left = await disk.list(`${path}/metadata`);
  if (left.length === 0) return;
  throw new BrineError("invalid", `${path} has metadata (${path}/metadata/${left[0]})`, {
    advice: "if it is of no use any more, move its folder metadata away first",
  });
}

async function fill(
  platform: Platform,
  file: DiskFile,
  path: string,
  directory: string,
  { term, index }: Pick<BackupHead, "term" | "index">,
): Promise<number> {
  const { disk, keyValue } = platform;
  await disk.makeDirectory(`${directory}/ledger`);
  for (const name of await disk.list(`${directory}/ledger`)) await disk.remove(`${directory}/ledger/${name}`);
  await keyValue.remove(`${directory}/state.sqlite`);
  const state = await keyValue.open(`${directory}/state.sqlite`);
  let rows = 0;
  try {
    for await (const part of readBackup(file, path)) {
      if ("head" in part) continue;
      for (const { key, value } of part.rows) state.put(key, value);
      rows += part.rows.length;
      if (state.uncommittedCount >= rowsInCommit) state.commit();
    }
    raiseNumbersOf(state);
  } finally {
    await state.close();
  }
  const { batch: last } = encodeBatch([]);
  await createFileLedger(platform, `${directory}/ledger`, { term, index, last });
  return rows;
}
