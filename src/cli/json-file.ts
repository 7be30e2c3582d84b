/** Small JSON files on disk: who a data directory belongs to, what runs in it. */
import { BrineError } from "../errors/brine-error.ts";
import type { Disk } from "../platform/disk.ts";

/** The file's value, or undefined if there is no such file. Error: invalid (not JSON). */
export async function readJson(disk: Disk, path: string): Promise<unknown> {
  const content = await disk.readFile(path);
  if (content === undefined) return undefined;
  try {
    return JSON.parse(Buffer.from(content).toString("utf8"));
  } catch (error) {
    throw new BrineError("invalid", `${path} is not JSON`, {
      cause: error,
      advice: "restore it from a backup, or choose another directory",
    });
  }
}

/** Replaces the file atomically and durably. */
export async function writeJson(disk: Disk, path: string, value: unknown): Promise<void> {
  await disk.writeFile(path, Buffer.from(`${JSON.stringify(value, null, 2)}\n`));
}
