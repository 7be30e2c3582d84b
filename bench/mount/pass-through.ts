/**
 * The floor of a machine: what its kernel's FUSE costs with next to nothing behind it. libfuse's own example passthrough_ll, in C
 * and on several threads, hands every request on to a directory on a memory disk; what it takes for a piece of work, a
 * file system that also keeps leases, a journal and copies on two servers can hardly undercut.
 */
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Context, waitFor } from "../../test/system/cluster.ts";
import { dropKernelCaches, fsyncOf, type Place, timeShell } from "./environment.ts";

const examples = "/usr/share/doc/libfuse3-dev/examples";

/**
 * Builds it in `directory`, where its files are, too, and mounts it.
 * Errors: the packages libfuse3-dev, gcc and pkg-config are missing.
 */
export async function startPassThrough(context: Context, directory: string): Promise<Place> {
  if (!existsSync(join(examples, "passthrough_ll.c"))) {
    throw new Error(`${examples}/passthrough_ll.c is missing: install the packages libfuse3-dev, gcc and pkg-config`);
  }
  const parent = join(directory, "pass-through");
  const [build, source, root] = [join(parent, "build"), join(parent, "source"), join(parent, "mnt")];
  for (const one of [build, source, root]) mkdirSync(one, { recursive: true });
  for (const file of ["passthrough_ll.c", "passthrough_helpers.h"])
    copyFileSync(join(examples, file), join(build, file));
  const defines = `-DPACKAGE_VERSION='"example"' -DHAVE_COPY_FILE_RANGE=1`;
  await timeShell(`cd ${build} && cc -O2 ${defines} passthrough_ll.c $(pkg-config fuse3 --cflags --libs) -o program`);
  // It keeps a descriptor for each file that the kernel remembers, so it can't do the largest trees.
  const command = `ulimit -n $(ulimit -H -n); exec ${build}/program -f -o source=${source},cache=always,allow_other ${root}`;
  const program = spawn("/bin/sh", ["-c", command], { stdio: "inherit" });
  context.after(async () => {
    await timeShell(`umount ${root}`).catch(() => program.kill());
  });
  await waitFor("the pass-through to be mounted", () => statSync(root).dev !== statSync(source).dev);
  return {
    label: "pass-through",
    root,
    syncCommand: fsyncOf(root),
    makeCold: async () => dropKernelCaches(),
    processes: () => [{ role: "pass-through", pid: program.pid! }],
  };
}
