/**
 * Mounts a MemoryFileSystem until a signal comes: `node mount-memory.ts DIR [linux61]`. Prints `mounted` when it is, and
 * `ended: REASON` at the end. Tests and measurements start it as a child, since a process must not use its own mount.
 */
import { realPlatform } from "../../platform/real.ts";
import { mountFuse } from "../mount.ts";
import { linux61Features } from "../protocol.ts";
import { MemoryFileSystem } from "./memory-file-system.ts";

const [directory, features] = process.argv.slice(2);
if (directory === undefined) throw new Error("usage: mount-memory.ts DIR [linux61]");
const platform = realPlatform({ logLevel: "warn" });
const fileSystem = new MemoryFileSystem(() => platform.clock.wallNs());
const mount = await mountFuse({
  directory,
  source: "memory:0/test",
  readOnly: false,
  fileSystem,
  platform,
  ...(features === "linux61" && { featureMask: linux61Features }),
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void mount.unmount());
console.log("mounted");
console.log(`ended: ${await mount.ended}`);
console.log(`open: ${fileSystem.openCount}`);
process.exit(0);
