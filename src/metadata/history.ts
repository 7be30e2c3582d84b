/**
 * The file `history` in the metadata's directory: when a person last decided to go on with what is there, by restoring a backup or by
 * promoting a copy. What stores and clients know of another history's entries says nothing about this one (wire/known-term.ts).
 *
 * The file `lacking` beside it: entries that were acknowledged are missing, and the numbers that they may have used are not raised
 * yet (namespace/restored.ts). The leader does that before it serves.
 */
import { CodecError } from "../codec/buffers.ts";
import { decode, encode, struct, u16, u64 } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import type { Platform } from "../platform/platform.ts";

const historyFile = struct({ format: u16, history: u64 });

function pathOf(directory: string): string {
  return `${directory}/history`;
}

/** 0: the cluster's first one. Errors: badChecksum (the file is damaged), DiskError. */
export async function readHistory({ disk }: Platform, directory: string): Promise<number> {
  const content = await disk.readFile(pathOf(directory));
  if (content === undefined) return 0;
  try {
    return decode(historyFile, content).history;
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    throw new BrineError("badChecksum", `${pathOf(directory)} is damaged`, {
      cause: error,
      advice: "remove it: at worst stores refuse this metadata, and say so",
    });
  }
}

/** Durable when it resolves. Errors: DiskError. */
export async function beginHistory(
  { disk, clock }: Platform,
  directory: string,
  { isLacking = false }: { isLacking?: boolean } = {},
): Promise<void> {
  if (isLacking) await disk.writeFile(lackingPath(directory), Buffer.of(1));
  const history = Number(clock.wallNs() / 1_000_000n);
  await disk.writeFile(pathOf(directory), encode(historyFile, { format: 1, history }));
}

/** Errors: DiskError. */
export async function isLacking({ disk }: Platform, directory: string): Promise<boolean> {
  return (await disk.readFile(lackingPath(directory))) !== undefined;
}

/** Durable when it resolves. Errors: DiskError. */
export async function lacksNoMore({ disk }: Platform, directory: string): Promise<void> {
  if ((await disk.readFile(lackingPath(directory))) === undefined) return;
  await disk.remove(lackingPath(directory));
  await disk.syncDirectory(directory);
}

function lackingPath(directory: string): string {
  return `${directory}/lacking`;
}
