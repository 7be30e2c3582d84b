/** `brine check`: do the stores have what the files map, and nothing else? */
import { Command } from "commander";
import { hasCode } from "../errors/brine-error.ts";
import { sleep } from "../platform/clock.ts";
import type { Platform } from "../platform/platform.ts";
import { exitNow, print } from "../platform/processes.ts";
import { type BadFileRange, checkChunks, type MissingChunk, readStatus } from "../wire/catalogue/admin.ts";
import { AdminConnection } from "./admin.ts";
import { jsonOption, withCluster } from "./options.ts";
import { exitCodes, printJson, printPlain } from "./output.ts";
import { Progress } from "./progress.ts";
import { type ClusterOptions, findCluster } from "./running.ts";

/** A group whose members change is asked again so often, a second apart: a catch-up of a small difference passes. */
const attempts = 30;
const attemptMs = 1_000;

interface Findings {
  mapped: number;
  orphaned: number;
  removed: number;
  missing: MissingChunk[];
  /** Bytes of files that nobody has any more. */
  lost: BadFileRange[];
  /** Stores that have groups in which they could not be asked, or are not in sync. */
  unasked: number[];
}

export function checkCommand(): Command {
  return withCluster(new Command("check"))
    .description("Compare the metadata with what the stores have, while everything is in use.")
    .option("--repair", "remove chunks from stores that nothing refers to", false)
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Missing chunks, and bytes of which no good copy is left as far as is known, are named with their file and offset; exit
code 1 if there are any. Contents are not read: that is brine scrub.

Example:
  brine check 127.0.0.1:7411 --repair`,
    )
    .action(async (address: string | undefined, options: ClusterOptions & { repair: boolean; json: boolean }) => {
      const { platform, addresses } = await findCluster(address, options);
      const connection = new AdminConnection(platform, addresses);
      try {
        const findings = await check(platform, connection, options);
        if (options.json) printJson(findings);
        else printFindings(findings, options.repair);
        exitNow(findings.missing.length + findings.lost.length > 0 ? exitCodes.failed : exitCodes.done);
      } finally {
        connection.close();
      }
    });
}

async function check(
  platform: Platform,
  connection: AdminConnection,
  { repair, json }: { repair: boolean; json: boolean },
): Promise<Findings> {
  const { groups, badRanges } = await connection.ask(readStatus, {});
  const progress = json ? undefined : new Progress(platform.clock, "checking", groups.length, "groups");
  const findings: Findings = { mapped: 0, orphaned: 0, removed: 0, missing: [], lost: [], unasked: [] };
  findings.lost = badRanges.filter(({ isLost }) => isLost);
  const unasked = new Set<number>();
  for (const [index, { group }] of groups.entries()) {
    for (let after = 0; ; ) {
      const part = await patiently(platform, () => connection.ask(checkChunks, { group, after, repair }));
      findings.mapped += part.mapped;
      findings.orphaned += part.orphaned;
      findings.removed += part.removed;
      for (const one of part.missing) findings.missing.push(one);
      for (const store of part.unasked) unasked.add(store);
      if (part.done) break;
      after = part.upTo;
    }
    progress?.update(index + 1);
  }
  progress?.finish();
  findings.unasked = [...unasked].sort((left, right) => left - right);
  return findings;
}

async function patiently<T>(platform: Platform, ask: () => Promise<T>): Promise<T> {
  for (let left = attempts; ; left--) {
    try {
      return await ask();
    } catch (error) {
      if (left === 0 || !hasCode(error, "busy")) throw error;
      await sleep(platform.clock, attemptMs);
    }
  }
}

function printFindings({ mapped, orphaned, removed, missing, lost, unasked }: Findings, repair: boolean): void {
  print(`${mapped} chunks are mapped by files`);
  if (unasked.length > 0) {
    print(`! Not checked: store ${unasked.join(", ")} (offline, or not in sync in all groups). See "brine status".`);
  }
  if (orphaned > 0) {
    const advice = repair ? `${removed} were removed` : 'remove them with "brine check --repair"';
    print(`! ${orphaned} chunks on stores are nobody's: ${advice}.`);
  }
  for (const { chunk, store, offset, ...file } of missing) {
    printPlain(`! Store ${store} doesn't have chunk ${chunk}: ${nameOf(file)} at offset ${offset}.`);
  }
  for (const { offset, length, ...file } of lost) {
    printPlain(`! Nobody has a good copy of ${length} bytes of ${nameOf(file)} at offset ${offset}: restore the file.`);
  }
  if (missing.length > 0) print("! Start a store with missing chunks on an empty directory: the others fill it.");
  if (orphaned - removed + missing.length + lost.length + unasked.length === 0) print("All is well.");
}

function nameOf({ volume, path, inode }: { volume: string; path: string; inode: number }): string {
  return `${volume}:${path === "" ? `inode ${inode}, which has no name` : path}`;
}
