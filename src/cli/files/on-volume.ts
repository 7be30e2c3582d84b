/** A volume for one command, without a mount: `HOST:PORT[,HOST:PORT…]/VOLUME/PATH`, used with the rights of who runs it. */
import { Client } from "../../client/client.ts";
import { VolumeTree } from "../../client/volume-tree.ts";
import { BrineError } from "../../errors/brine-error.ts";
import { type ErrnoName, errno } from "../../errors/errno.ts";
import type { Clock } from "../../platform/clock.ts";
import { errnoText, print, thisProcess } from "../../platform/processes.ts";
import { realPlatform } from "../../platform/real.ts";
import { parseSource } from "../options.ts";

export const placeHelp = `
A PLACE is HOST:PORT[,HOST:PORT…]/VOLUME[/PATH]. Permissions are those of who runs the command.`;

/** Operations fail when they have waited so long: nobody wants a command that hangs for ever. */
const softTimeoutMs = 60_000;

export interface PlaceOnVolume {
  /** `HOST:PORT/VOLUME`. */
  readonly source: string;
  /** Empty: the volume's root. */
  readonly path: string;
}

export function parsePlace(text: string): PlaceOnVolume {
  const match = /^([^/]+\/[^/]+)\/?(.*)$/s.exec(text);
  if (match === null) {
    throw new BrineError("invalid", `"${text}" names no volume`, { advice: "write it as HOST:PORT/VOLUME/PATH" });
  }
  return { source: match[1]!, path: match[2]! };
}

/** Several places of a command; all must be on one volume. */
export function parsePlaces(texts: readonly string[]): { source: string; paths: string[] } {
  const places = texts.map(parsePlace);
  const { source } = places[0]!;
  const other = places.find((place) => place.source !== source);
  if (other !== undefined) {
    throw new BrineError("invalid", `${source} and ${other.source} are two volumes`, { advice: "use one at a time" });
  }
  return { source, paths: places.map(({ path }) => path) };
}

/** Runs `use` on the volume, with the clock that its client goes by. What it has done is durable at the end, also if it fails. */
export async function onVolume<T>(source: string, use: (tree: VolumeTree, clock: Clock) => Promise<T>): Promise<T> {
  const platform = realPlatform({ logLevel: "error", logTo: print });
  const { addresses, volume } = parseSource(source);
  const { uid, gid, groups } = thisProcess;
  const user = { uid, gid, groups: [...groups] };
  const client = await Client.mount(platform, {
    leaders: addresses,
    volume,
    host: `${thisProcess.host} pid ${thisProcess.pid}`,
    softTimeoutMs,
    user,
  });
  try {
    return await use(new VolumeTree(client, user), platform.clock);
  } finally {
    await client.unmount();
  }
}

/** Runs `body`; an error that is an error number becomes one that people can read, with the path in it. */
export async function about<T>(path: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    if (error instanceof BrineError) throw error;
    const { code } = error as { code?: ErrnoName };
    if (code === undefined || !(code in errno)) throw error;
    throw new BrineError("refused", `${path === "" ? "/" : path}: ${errnoText(errno[code])}`, { cause: error });
  }
}

export function missing(path: string): BrineError {
  return new BrineError("refused", `${path === "" ? "/" : path}: ${errnoText(errno.ENOENT)}`);
}
