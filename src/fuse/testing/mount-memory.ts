/**
 * Mounts a memory file system until a signal comes: `node mount-memory.ts DIR [WORD…]` with the words linux61,
 * thread-pool, ro, mounts-inside and valid. `valid`: the kernel may keep names and attributes for a minute. Prints `mounted` when it is; at the end
 * `ended: REASON` and how many handles were left open. A line of its input is `{ id, command }` and answered by a line of
 * JSON with that id. Tests and measurements start it as a child, since a process must not use its own mount.
 */
import { createInterface } from "node:readline";
import { realPlatform } from "../../platform/real.ts";
import { mountFuse } from "../mount.ts";
import { linux61Features } from "../protocol.ts";
import { type Command, ControlledFileSystem, counted } from "./controlled-file-system.ts";

const [directory, ...words] = process.argv.slice(2);
if (directory === undefined) throw new Error("usage: mount-memory.ts DIR [WORD…]");
const platform = realPlatform({ logLevel: "warn" });
const fileSystem = new ControlledFileSystem(() => platform.clock.wallNs());
if (words.includes("valid")) fileSystem.validMs = 60_000;
try {
  const mount = await mountFuse({
    directory,
    source: "memory:0/test",
    readOnly: words.includes("ro"),
    fileSystem: counted(fileSystem),
    platform,
    keepNames: !words.includes("mounts-inside"),
    usePipe: !words.includes("thread-pool"),
    ...(words.includes("linux61") && { featureMask: linux61Features }),
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void mount.unmount());
  createInterface({ input: process.stdin }).on("line", (line) => {
    const { id, command } = JSON.parse(line) as { id: number; command: Command };
    fileSystem.run(command).then(
      (answer) => console.log(JSON.stringify({ id, ...answer })),
      (error: Error) => console.log(JSON.stringify({ id, error: error.message })),
    );
  });
  console.log("mounted");
  console.log(`ended: ${await mount.ended}, ${fileSystem.openCount} handles open`);
  process.exit(0);
} catch (error) {
  console.log(`failed: ${(error as { code?: string }).code} ${(error as Error).message}`);
  process.exit(1);
}
