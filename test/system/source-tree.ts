/**
 * Real input: the Linux source tree of Debian's package linux-source-6.1, a part of it in the short run. Where the
 * package isn't there, brinefs' own node_modules serve, and the test says so.
 */
import { existsSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { full, root, shell } from "./cluster.ts";

const packaged = "/usr/src/linux-source-6.1.tar.xz";
const cache = "/var/tmp/brinefs-test-input";
/** The first bytes of the archive: some 1,500 files, unpacked in a second. */
const partBytes = 6 * 1024 * 1024;

/** A plain .tar of the tree, or of its beginning; made once and kept. */
export async function sourceArchive(context: TestContext, whole = full): Promise<string> {
  mkdirSync(cache, { recursive: true });
  if (!existsSync(packaged)) {
    context.diagnostic("linux-source-6.1 is not installed: the tree is brinefs' own node_modules");
    const archive = join(cache, "node_modules.tar");
    await shell(
      `tar cf ${archive}.new -C ${root} --exclude=node_modules/node* node_modules && mv ${archive}.new ${archive}`,
    );
    return archive;
  }
  const archive = join(cache, whole ? "linux-6.1.tar" : "linux-6.1-start.tar");
  if (existsSync(archive)) return archive;
  const fresh = `${archive}.${process.pid}`;
  if (whole) {
    await shell(`xz -dc ${packaged} > ${fresh}`, { timeoutMs: 300_000 });
  } else {
    // Cut anywhere, the last file is torn: so what could be unpacked is packed again.
    const unpacked = `${fresh}.d`;
    mkdirSync(unpacked);
    await shell(`
      (xz -dc ${packaged} 2>/dev/null || true) | head -c ${partBytes} | tar x -C ${unpacked} 2>/dev/null || true
      tar cf ${fresh} -C ${unpacked} --owner=0 --group=0 .
      rm -rf ${unpacked}`);
  }
  renameSync(fresh, archive);
  return archive;
}
