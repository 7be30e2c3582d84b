/**
 * A server's data directory: DIR/format.json says which server of which cluster it belongs to and in which version of
 * the formats, DIR/lock keeps a second process out.
 */
import { BrineError } from "../errors/brine-error.ts";
import { type Disk, DiskError } from "../platform/disk.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { randomId } from "../platform/random.ts";
import { readJson, writeJson } from "./json-file.ts";

/** Version of the layout of a data directory; see docs/format.md. */
export const dataFormat = 2;

export interface DataIdentity {
  readonly format: number;
  readonly clusterId: string;
  readonly serverId: string;
  readonly roles: readonly string[];
  /** Metadata servers of the cluster that it joined; empty for one that has the metadata itself. */
  readonly leaders: readonly Address[];
  /** A store was made in it: if its folder is gone, so is what the cluster believes to be there. */
  readonly hasStore: boolean;
  /** The same of the metadata: a server without it must not begin anew as this cluster. */
  readonly hasMetadata: boolean;
}

export interface DataDirectory {
  readonly path: string;
  /** Undefined in a directory that no server has used yet. */
  readonly identity: DataIdentity | undefined;
  release(): void;
}

/**
 * Takes the directory for this process, and reads who it belongs to. `ours`: what may be in it without an identity.
 * Errors: busy, versionMismatch, invalid.
 */
export async function openDataDirectory(
  disk: Disk,
  path: string,
  ours: readonly string[] = [],
): Promise<DataDirectory> {
  await disk.makeDirectory(path).catch((error: unknown) => {
    if (!(error instanceof DiskError) || error.code !== "ENOENT") throw error;
    throw new BrineError("invalid", `the data directory ${path} can't be made: the file system there takes none`, {
      cause: error,
      advice: "choose a directory on a disk",
    });
  });
  const identity = await readIdentity(disk, path, ours);
  const lock = await lockDirectory(disk, path);
  return { path, identity, release: () => lock.release() };
}

/** Gives a fresh directory its server: from here on it belongs to this cluster for good. */
export async function initialiseDataDirectory(
  platform: Platform,
  path: string,
  owner: Pick<DataIdentity, "clusterId" | "roles" | "leaders">,
): Promise<DataIdentity> {
  const made = { hasStore: false, hasMetadata: false };
  const identity = { format: dataFormat, serverId: randomId(platform.random), ...made, ...owner };
  await writeIdentity(platform, path, identity);
  return identity;
}

/** Errors: DiskError. */
export async function writeIdentity(platform: Platform, path: string, identity: DataIdentity): Promise<void> {
  await writeJson(platform.disk, `${path}/format.json`, identity);
}

/** Errors: busy, with the process that has it. */
export async function lockDirectory(disk: Disk, path: string): Promise<{ release(): void }> {
  try {
    return await disk.lockDirectory(path);
  } catch (error) {
    if (!(error instanceof DiskError) || error.code !== "EWOULDBLOCK") throw error;
    const holder = Buffer.from((await disk.readFile(`${path}/lock`)) ?? new Uint8Array())
      .toString("utf8")
      .trim();
    throw new BrineError("busy", `${path} is in use${holder === "" ? "" : ` by process ${holder}`}`, {
      advice: `stop it first with "brine stop --data ${path}"`,
    });
  }
}

async function readIdentity(disk: Disk, path: string, ours: readonly string[]): Promise<DataIdentity | undefined> {
  const value = (await readJson(disk, `${path}/format.json`)) as Partial<DataIdentity> | undefined;
  if (value === undefined) {
    await refuseForeignFiles(disk, path, ours);
    return undefined;
  }
  if (typeof value.format !== "number" || typeof value.clusterId !== "string" || typeof value.serverId !== "string") {
    throw new BrineError("invalid", `${path}/format.json is not that of a brinefs data directory`, {
      advice: "choose another directory",
    });
  }
  if (value.format > dataFormat) {
    throw new BrineError(
      "versionMismatch",
      `${path} has format version ${value.format}, this brinefs knows versions up to ${dataFormat}`,
      { advice: "use the brinefs that wrote it, or a newer one" },
    );
  }
  if (value.format < dataFormat) {
    throw new BrineError(
      "versionMismatch",
      `${path} has format version ${value.format}, from before the first release`,
      {
        advice: "copy the files out with the brinefs that wrote it; choose an empty directory",
      },
    );
  }
  const { format, clusterId, serverId, roles = [], leaders = [] } = value;
  const { hasStore = false, hasMetadata = false } = value;
  return { format, clusterId, serverId, roles, leaders, hasStore, hasMetadata };
}

/** A directory with somebody else's files in it must not become a data directory by a typing error. */
async function refuseForeignFiles(disk: Disk, path: string, ours: readonly string[]): Promise<void> {
  const known = ["lock", "lost+found", ...ours];
  const foreign = (await disk.list(path)).filter((name) => !known.includes(name));
  if (foreign.length > 0) {
    throw new BrineError("invalid", `${path} is not empty and not a brinefs data directory (it has ${foreign[0]})`, {
      advice: "choose an empty directory",
    });
  }
}
