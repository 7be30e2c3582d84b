/** `brine ls`, `brine cat`, `brine rm`: on a volume, where nothing can be mounted. */
import { Command } from "commander";
import type { VolumeTree } from "../../client/volume-tree.ts";
import { BrineError } from "../../errors/brine-error.ts";
import { textOf } from "../../namespace/byte-strings.ts";
import type { Attributes } from "../../namespace/model.ts";
import { baseName, pathIn } from "../../platform/file-tree.ts";
import { print, printBytes } from "../../platform/processes.ts";
import { jsonOption } from "../options.ts";
import { printJson, printTable } from "../output.ts";
import { about, missing, onVolume, parsePlace, parsePlaces, placeHelp } from "./on-volume.ts";

const typeLetters: Readonly<Record<Attributes["type"], string>> = {
  file: "-",
  directory: "d",
  symlink: "l",
  fifo: "p",
  socket: "s",
  characterDevice: "c",
  blockDevice: "b",
};
const nsPerMs = 1_000_000n;

export function lsCommand(): Command {
  return new Command("ls")
    .description("List a directory of a volume, without mounting it.")
    .argument("<place>", "what to list")
    .option("-l, --long", "mode, links, owner, group, size, time", false)
    .addOption(jsonOption())
    .addHelpText("after", `${placeHelp}\n\nExample:\n  brine ls -l 127.0.0.1:7411/home/www`)
    .action(async (text: string, { long, json }: { long: boolean; json: boolean }) => {
      const { source, path } = parsePlace(text);
      const entries = await onVolume(source, (tree) => about(path, () => list(tree, path)));
      if (json) printJson(entries.map(({ name, attributes }) => ({ name, ...attributes })));
      else if (long) printTable(entries.map(longLine));
      else for (const { name } of entries) print(name);
    });
}

interface Listed {
  readonly name: string;
  readonly attributes: Attributes;
}

async function list(tree: VolumeTree, path: string): Promise<Listed[]> {
  const found = await tree.attributes(path, true);
  if (found === undefined) throw missing(path);
  if (found.type !== "directory") return [{ name: baseName(path), attributes: found }];
  const entries: Listed[] = [];
  for await (const { name, attributes } of tree.entries(path)) entries.push({ name: textOf(name), attributes });
  return entries.sort((left, right) => (left.name < right.name ? -1 : 1));
}

function longLine({ name, attributes }: Listed): string[] {
  const { type, linkCount, uid, gid, size, mtimeNs } = attributes;
  const time = new Date(Number(mtimeNs / nsPerMs)).toISOString().replace("T", " ").slice(0, 19);
  return [modeText(type, attributes.mode), `${linkCount}`, `${uid}`, `${gid}`, `${size}`, time, name];
}

/** As `-rwsr-xr-t`. */
function modeText(type: Attributes["type"], mode: number): string {
  const special = [0o4000, 0o2000, 0o1000].map((bit) => (mode & bit) !== 0);
  const letters = [6, 3, 0].map((shift, index) => {
    const bits = (mode >> shift) & 7;
    const mark = index === 2 ? "t" : "s";
    const execute = (bits & 1) !== 0 ? "x" : "-";
    const last = !special[index] ? execute : execute === "x" ? mark : mark.toUpperCase();
    return `${(bits & 4) !== 0 ? "r" : "-"}${(bits & 2) !== 0 ? "w" : "-"}${last}`;
  });
  return typeLetters[type] + letters.join("");
}

export function catCommand(): Command {
  return new Command("cat")
    .description("Write files of a volume to the standard output, without mounting it.")
    .argument("<place...>", "files of one volume")
    .addHelpText("after", `${placeHelp}\n\nExample:\n  brine cat 127.0.0.1:7411/home/www/index.html`)
    .action(async (texts: string[]) => {
      const { source, paths } = parsePlaces(texts);
      await onVolume(source, async (tree) => {
        for (const path of paths) {
          await about(path, async () => {
            for await (const piece of tree.read(path)) await printBytes(piece);
          });
        }
      });
    });
}

export function rmCommand(): Command {
  return new Command("rm")
    .description("Remove files of a volume, without mounting it. Durable when it returns.")
    .argument("<place...>", "what to remove, on one volume")
    .option("-r, --recursive", "directories with all that is in them", false)
    .option("-f, --force", "no error for what is not there", false)
    .addHelpText("after", `${placeHelp}\n\nExample:\n  brine rm -r 127.0.0.1:7411/home/www/old`)
    .action(async (texts: string[], options: { recursive: boolean; force: boolean }) => {
      const { source, paths } = parsePlaces(texts);
      await onVolume(source, async (tree) => {
        for (const path of paths) await remove(tree, path, options);
        await tree.sync();
      });
    });
}

async function remove(tree: VolumeTree, path: string, options: { recursive: boolean; force: boolean }): Promise<void> {
  const found = await about(path, () => tree.attributes(path, false));
  if (found === undefined) {
    if (options.force) return;
    throw missing(path);
  }
  if (found.type === "directory") {
    if (!options.recursive) throw new BrineError("refused", `${path} is a directory`, { advice: "use -r" });
    for (const name of await about(path, () => tree.list(path))) await remove(tree, pathIn(path, name), options);
  }
  await about(path, () => tree.remove(path));
}
