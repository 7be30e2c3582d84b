/** All entries of a directory, for those who go through a volume without a kernel. */
import type { DirectoryEntry, FileSystem } from "./file-system.ts";

const namesAtOnce = 1_024;

/** In the order in which the volume has them. Attributes may be missing, as in `FileSystem.readDirectory`. */
export async function* directoryEntries(
  fileSystem: FileSystem,
  directory: number,
  withAttributes: boolean,
): AsyncGenerator<DirectoryEntry> {
  const handle = await fileSystem.open(directory, {});
  try {
    for (let after = 0; ; ) {
      const page = await fileSystem.readDirectory(handle, after, namesAtOnce, withAttributes);
      if (page.length === 0) return;
      yield* page;
      after = page.at(-1)!.cookie;
    }
  } finally {
    fileSystem.close(handle);
  }
}
