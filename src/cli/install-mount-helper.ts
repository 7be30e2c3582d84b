/**
 * `brine install-mount-helper`: makes /sbin/mount.fuse.brine, which mount(8) runs for file systems of type `fuse.brine`, so
 * that a volume can stand in /etc/fstab.
 */
import { Command } from "commander";
import { BrineError } from "../errors/brine-error.ts";
import { launcher, print, writeProgram } from "../platform/processes.ts";

/** Where mount(8) looks, whatever its PATH is. */
const helperPath = "/sbin/mount.fuse.brine";

export function installMountHelperCommand(): Command {
  return new Command("install-mount-helper")
    .description("Let mount(8) and /etc/fstab mount volumes, as file systems of type fuse.brine.")
    .option("--path <file>", "where mount(8) looks for it", helperPath)
    .addHelpText(
      "after",
      `
Example, as root:
  brine install-mount-helper
  echo '10.0.0.1:7411/home /mnt/home fuse.brine _netdev,nofail 0 0' >> /etc/fstab
  mount /mnt/home`,
    )
    .action(({ path }: { path: string }) => {
      try {
        writeProgram(path, helperScript(launcher));
      } catch (error) {
        throw new BrineError("refused", `can't write ${path}: ${(error as Error).message}`, {
          advice: "it needs root",
          cause: error,
        });
      }
      print(`${path} is in place: mount -t fuse.brine HOST:PORT/VOLUME DIRECTORY`);
    });
}

/** mount(8) calls it as `helper SOURCE DIRECTORY [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t TYPE]`. */
export function helperScript(brine: string): string {
  const quoted = `'${brine.replaceAll("'", "'\\''")}'`;
  return `#!/bin/sh
# Made by "brine install-mount-helper": mount(8) runs it for file systems of type fuse.brine.
source=$1 directory=$2
shift 2
options=rw
while [ $# -gt 0 ]; do
  case $1 in
    -o) options=$2; shift ;;
    -N|-t) shift ;;
    -f) exit 0 ;;
  esac
  shift
done
exec ${quoted} mount -o "$options" -- "$source" "$directory"
`;
}
