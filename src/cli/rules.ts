/** `brine volume rules`: which files of a volume go where, and how many copies of them there are. */
import { Command } from "commander";
import { BrineError } from "../errors/brine-error.ts";
import type { Label } from "../namespace/model.ts";
import { labelsText } from "../namespace/store-labels.ts";
import {
  changeRules,
  type RulesChange,
  type RulesShown,
  readRules,
  type ShownRule,
} from "../wire/catalogue/placement.ts";
import { askLeader } from "./admin.ts";
import { addLabel, jsonOption, wholeNumber, withCluster } from "./options.ts";
import { printJson, printPlain, printTable } from "./output.ts";
import { type ClusterOptions, findCluster } from "./running.ts";

const help = `
The first rule that matches a file's path counts, in the moment in which the file is made; renaming it later changes nothing.
A glob without a slash is of the name (*.jpg), one with a slash of the path from the volume's root (/db/**). A regular
expression (--regex, as RE2 knows them) is looked for in the path.
"brine volume apply-rules" moves files that are there already.
Examples:
  brine volume rules add home '*.jpg' --replicas 2 --on disk=hdd
  brine volume rules add home '/db/**' --replicas 3 --on disk=ssd --at 1
  brine volume rules home`;

export function rulesCommand(): Command {
  return new Command("rules")
    .description("Say which files of a volume go to which stores, by patterns of their paths.")
    .addCommand(listCommand(), { isDefault: true })
    .addCommand(addCommand())
    .addCommand(removeCommand())
    .addCommand(moveCommand())
    .addHelpText("after", help);
}

function listCommand(): Command {
  return withCluster(new Command("list").argument("<volume>"))
    .description("List the rules in their order.")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  brine volume rules list home --data ./brine-data")
    .action(async (volume: string, address: string | undefined, options: ClusterOptions & { json: boolean }) => {
      const { platform, addresses } = await findCluster(address, options);
      const shown = await askLeader(platform, addresses, readRules, { volume });
      if (options.json) printJson(shown);
      else printRules(volume, shown);
    });
}

interface AddOptions extends ClusterOptions {
  readonly replicas: number;
  readonly on: readonly Label[];
  readonly regex: boolean;
  readonly at?: number;
}

function addCommand(): Command {
  return withCluster(new Command("add").argument("<volume>").argument("<pattern>", "'*.jpg', '/db/**'"))
    .description("Add a rule, behind the others. Mounts know it when this returns.")
    .requiredOption("--replicas <number>", "copies of every byte of such files", wholeNumber(1, 8))
    .option("--on <key=value>", "only on stores with this label; may come several times", addLabel, [])
    .option("--regex", "the pattern is a regular expression, looked for in the path", false)
    .option("--at <position>", "put it before the rule that is there now", wholeNumber(1, 64))
    .addHelpText("after", help)
    .action(async (volume: string, pattern: string, address: string | undefined, options: AddOptions) => {
      const syntax = options.regex ? ("expression" as const) : ("glob" as const);
      const rule = { syntax, pattern, replicas: options.replicas, labels: [...options.on] };
      await change({ volume, change: { kind: "add", position: options.at ?? 0, rule } }, address, options);
    });
}

function removeCommand(): Command {
  return withCluster(new Command("remove").argument("<volume>").argument("<position>", "of the rule, from 1 on"))
    .description("Remove a rule. Files that were made under it stay where they are until the rules are applied.")
    .addHelpText("after", "\nExample:\n  brine volume rules remove home 2 --data ./brine-data")
    .action(async (volume: string, position: string, address: string | undefined, options: ClusterOptions) => {
      await change({ volume, change: { kind: "remove", position: parsePosition(position) } }, address, options);
    });
}

function moveCommand(): Command {
  return withCluster(
    new Command("move").argument("<volume>").argument("<position>", "of the rule").argument("<to>", "its new position"),
  )
    .description("Change the order of the rules: the first that matches counts.")
    .addHelpText("after", "\nExample:\n  brine volume rules move home 3 1 --data ./brine-data")
    .action(
      async (volume: string, position: string, to: string, address: string | undefined, options: ClusterOptions) => {
        const moved = { kind: "move" as const, position: parsePosition(position), to: parsePosition(to) };
        await change({ volume, change: moved }, address, options);
      },
    );
}

async function change(request: RulesChange, address: string | undefined, options: ClusterOptions): Promise<void> {
  const { platform, addresses } = await findCluster(address, options);
  printRules(request.volume, await askLeader(platform, addresses, changeRules, request));
}

function printRules(volume: string, { failureDomain, rules, shortfalls }: RulesShown): void {
  if (rules.length === 0) printPlain(`volume ${volume} has no placement rules: all files are where the volume's are`);
  else {
    printTable([
      ["", "PATTERN", "", "COPIES", "ON"],
      ...rules.map((rule, at) => [String(at + 1), rule.pattern, syntaxText(rule), `${rule.replicas}`, onText(rule)]),
    ]);
  }
  printPlain(`copies are kept apart by ${failureDomain}`);
  for (const [at, text] of shortfalls.entries()) if (text !== "") printPlain(`! Rule ${at + 1}: ${text}.`);
}

/** `*.jpg → 2 × disk=hdd`. */
export function ruleText(rule: ShownRule): string {
  return `${rule.pattern} → ${rule.replicas} × ${onText(rule)}`;
}

export function onText({ labels }: Pick<ShownRule, "labels">): string {
  return labels.length === 0 ? "any store" : labelsText(labels);
}

function syntaxText({ syntax, pattern }: ShownRule): string {
  if (syntax === "expression") return "regular expression";
  return pattern.includes("/") ? "path" : "name";
}

function parsePosition(text: string): number {
  const position = Number(text);
  if (Number.isInteger(position) && position >= 1 && position <= 64) return position;
  throw new BrineError("invalid", `"${text}" is no position of a rule`, { advice: '"brine volume rules" lists them' });
}
