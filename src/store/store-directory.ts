/**
 * The store's directory:
 *
 *     segments/       the log
 *     index.sqlite    the index: a checkpoint of what the log says
 *     indexed         there once a checkpoint is durable: from then on segments are removed, with the deletions and clones
 *                     that they held, and an index that is lost can't be built again from the rest without loss
 *     damage          there while something is lost that the leader doesn't know of: damage.ts
 *     leader-term     the leader that was met last, and how far its ledger went: outdated ones are not believed any more. The same is
 *                     beside the directory, in that of the server: a store that was emptied must not believe an old copy of the metadata
 */
import { CodecError } from "../codec/buffers.ts";
import { decode, encode, struct, u16, u64 } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import { DiskError } from "../platform/disk.ts";
import type { KeyValue } from "../platform/key-value.ts";
import type { Platform } from "../platform/platform.ts";
import { type KnownLedger, knownLedger } from "../wire/catalogue/handshake.ts";
import { noLedger } from "../wire/known-term.ts";
import type { DamageNote } from "./damage.ts";
import { WatchedKeyValue } from "./watched-key-value.ts";

const newDirectoryAdvice =
  "start this server with a new, empty data directory: it joins as a new store, and the other members fill it";

export function segmentsPath(directory: string): string {
  return `${directory}/segments`;
}

export function indexPath(directory: string): string {
  return `${directory}/index.sqlite`;
}

function markPath(directory: string): string {
  return `${directory}/indexed`;
}

/** Errors: diskFailed, badChecksum (the file is damaged). */
export async function openIndex(platform: Platform, directory: string, note: DamageNote): Promise<KeyValue> {
  const path = indexPath(directory);
  try {
    return new WatchedKeyValue(await platform.keyValue.open(path), (reason) => note.noteIndex(reason));
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    if (error.code === "EUCLEAN") throw new BrineError("badChecksum", `the index ${path} is damaged`, { cause: error });
    throw new BrineError("diskFailed", error.message, { cause: error, advice: newDirectoryAdvice });
  }
}

const mark = struct({ format: u16 });

/** True once a checkpoint of the index has been durable. */
export async function isMarked(platform: Platform, directory: string): Promise<boolean> {
  return (await platform.disk.readFile(markPath(directory))) !== undefined;
}

/** Must be there before the first segment is removed or punched. */
export async function writeMark(platform: Platform, directory: string): Promise<void> {
  await platform.disk.writeFile(markPath(directory), encode(mark, { format: 1 }));
}

export function lostIndex(directory: string): BrineError {
  return new BrineError("badChecksum", `the index ${indexPath(directory)} is gone`);
}

const leaderTerm = struct({ format: u16, term: u64 });
const leaderLedger = struct({ format: u16, ledger: knownLedger });

function leaderTermPath(directory: string): string {
  return `${directory}/leader-term`;
}

/**
 * Of what is in the directory and in the one `beside` it the later: a leader's term never falls, nor does its index under one term.
 * Errors: badChecksum (a file is damaged), DiskError.
 */
export async function readLeaderTerm(platform: Platform, directory: string, beside?: string): Promise<KnownLedger> {
  const own = await readOne(platform, directory);
  if (beside === undefined) return own;
  const other = await readOne(platform, beside);
  return other.term > own.term || (other.term === own.term && other.index > own.index) ? other : own;
}

async function readOne(platform: Platform, directory: string): Promise<KnownLedger> {
  const content = await platform.disk.readFile(leaderTermPath(directory));
  if (content === undefined) return noLedger;
  try {
    if (content[0] === 1) return { ...noLedger, term: decode(leaderTerm, content).term };
    return decode(leaderLedger, content).ledger;
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    throw new BrineError("badChecksum", `${leaderTermPath(directory)} is damaged`, {
      cause: error,
      advice: newDirectoryAdvice,
    });
  }
}

/** Durable when it resolves. Errors: DiskError. */
export async function writeLeaderTerm(platform: Platform, directory: string, ledger: KnownLedger): Promise<void> {
  await platform.disk.writeFile(leaderTermPath(directory), encode(leaderLedger, { format: 2, ledger }));
}
