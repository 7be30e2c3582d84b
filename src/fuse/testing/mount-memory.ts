/**
 * Mounts a memory file system until a signal comes: `node mount-memory.ts DIR [linux61] [thread-pool] [ro]`. Prints
 * `mounted` when it is; at the end `ended: REASON` and how many handles were left open. Tests and measurements start it
 * as a child, since a process must not use its own mount.
 */
import { FileError } from "../../errors/file-error.ts";
import { realPlatform } from "../../platform/real.ts";
import { mountFuse } from "../mount.ts";
import { linux61Features } from "../protocol.ts";
import { MemoryFileSystem } from "./memory-file-system.ts";

/** fsync of a file of this size takes half a second, as writes behind 2^41 do; of one byte more, until it is aborted. */
const slowSyncBytes = 1234;
const slowSyncMs = 500;

class SlowFileSystem extends MemoryFileSystem {
  override async sync(inode: number, signal?: AbortSignal): Promise<void> {
    const { attributes } = await this.getAttributes(inode);
    if (attributes.size === slowSyncBytes) await new Promise((done) => setTimeout(done, slowSyncMs));
    if (attributes.size === slowSyncBytes + 1) {
      await new Promise((_, reject) => signal?.addEventListener("abort", () => reject(new FileError("EINTR"))));
    }
  }

  override async write(...args: Parameters<MemoryFileSystem["write"]>): Promise<number> {
    if (args[1] >= 2 ** 41) await new Promise((done) => setTimeout(done, slowSyncMs));
    return super.write(...args);
  }
}

const [directory, ...words] = process.argv.slice(2);
if (directory === undefined) throw new Error("usage: mount-memory.ts DIR [linux61] [thread-pool] [ro]");
const platform = realPlatform({ logLevel: "warn" });
const fileSystem = new SlowFileSystem(() => platform.clock.wallNs());
try {
  const mount = await mountFuse({
    directory,
    source: "memory:0/test",
    readOnly: words.includes("ro"),
    fileSystem,
    platform,
    usePipe: !words.includes("thread-pool"),
    ...(words.includes("linux61") && { featureMask: linux61Features }),
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void mount.unmount());
  console.log("mounted");
  console.log(`ended: ${await mount.ended}, ${fileSystem.openCount} handles open`);
  process.exit(0);
} catch (error) {
  console.log(`failed: ${(error as { code?: string }).code} ${(error as Error).message}`);
  process.exit(1);
}
