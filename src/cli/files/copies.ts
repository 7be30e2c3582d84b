/** `brine put`, `brine get`, `brine cp`: to a volume, from it, and on it, where nothing can be mounted. */
import { Command } from "commander";
import { BrineError } from "../../errors/brine-error.ts";
import { LocalTree } from "../../platform/local-tree.ts";
import { absolutePath, print } from "../../platform/processes.ts";
import { sizeText } from "../output.ts";
import { type CopyOptions, copyTree } from "./copy-tree.ts";
import { onVolume, parsePlace, parsePlaces, placeHelp } from "./on-volume.ts";

interface Options {
  readonly recursive: boolean;
}

function copyCommand(name: string, from: string, to: string): Command {
  return new Command(name)
    .usage(`[options] <${from}...> <${to}>`)
    .argument("<what...>", `one ${from} or more, and the ${to} they go to: a directory, or a new name`)
    .option("-r, --recursive", "directories with all that is in them", false);
}

/** All but the last, and the last. */
function sourcesAndTarget(given: readonly string[]): { sources: string[]; target: string } {
  if (given.length < 2) throw new BrineError("invalid", `${given[0]}: where to?`, { advice: "name a target, too" });
  return { sources: given.slice(0, -1), target: given.at(-1)! };
}

export function putCommand(): Command {
  return copyCommand("put", "file", "place")
    .description("Copy files of this machine to a volume, without mounting it. Durable when it returns.")
    .addHelpText("after", `${placeHelp}\n\nExample:\n  brine put -r ./site 127.0.0.1:7411/home/www`)
    .action(async (given: string[], { recursive }: Options) => {
      const { sources, target } = sourcesAndTarget(given);
      const { source, path } = parsePlace(target);
      await onVolume(source, (to, clock) =>
        copy("put", sources.map(absolutePath), path, { from: new LocalTree(), to, recursive, clock }),
      );
    });
}

export function getCommand(): Command {
  return copyCommand("get", "place", "directory")
    .description("Copy files of a volume to this machine, without mounting it. Durable when it returns.")
    .addHelpText("after", `${placeHelp}\n\nExample:\n  brine get -r 127.0.0.1:7411/home/www ./site`)
    .action(async (given: string[], { recursive }: Options) => {
      const { sources, target } = sourcesAndTarget(given);
      const { source, paths } = parsePlaces(sources);
      await onVolume(source, (from, clock) =>
        copy("got", paths, absolutePath(target), { from, to: new LocalTree(), recursive, clock }),
      );
    });
}

export function cpCommand(): Command {
  return copyCommand("cp", "place", "place")
    .description("Copy files within a volume, without mounting it. Durable when it returns.")
    .option("--reflink", "share the blocks of whole chunks (4 MiB) on the stores: nothing of them is copied", false)
    .addHelpText("after", `${placeHelp}\n\nExample:\n  brine cp --reflink 127.0.0.1:7411/home/a 127.0.0.1:7411/home/b`)
    .action(async (given: string[], { recursive, reflink }: Options & { readonly reflink: boolean }) => {
      const { source, paths } = parsePlaces(given);
      const { sources, target } = sourcesAndTarget(paths);
      await onVolume(source, (tree, clock) =>
        copy("copied", sources, target, {
          ...{ from: tree, to: tree, recursive, clock },
          ...(reflink && { share: tree.share.bind(tree) }),
        }),
      );
    });
}

async function copy(
  done: string,
  sources: readonly string[],
  target: string,
  options: Omit<CopyOptions, "what">,
): Promise<void> {
  const { files, bytes } = await copyTree(sources, target, { ...options, what: done });
  print(`${done}: ${files} ${files === 1 ? "file" : "files"}, ${sizeText(bytes)}`);
}
