/** `brine store`: which stores there are, and taking them into use, emptying and removing them, while everything runs. */
import { Command } from "commander";
import type { Label } from "../namespace/model.ts";
import { labelsText } from "../namespace/store-labels.ts";
import { sleep } from "../platform/clock.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { print } from "../platform/processes.ts";
import { changeStore, type Heir, readStatus, type ServerStatus, type StoreChange } from "../wire/catalogue/admin.ts";
import { labelStore } from "../wire/catalogue/placement.ts";
import { AdminConnection, askLeader } from "./admin.ts";
import { addLabel, dataOption, jsonOption, withCluster } from "./options.ts";
import { printJson, printTable, sizeText } from "./output.ts";
import { Progress } from "./progress.ts";
import { type ClusterOptions, findCluster } from "./running.ts";

export function storeCommand(): Command {
  return new Command("store")
    .description("List stores, take new ones into use, empty and remove them, and say what and how they are.")
    .addCommand(listCommand())
    .addCommand(addCommand())
    .addCommand(drainCommand())
    .addCommand(removeCommand())
    .addCommand(labelCommand())
    .addCommand(slowCommand())
    .addHelpText("after", "\nExample:\n  brine store drain 3 --wait --data ./brine-data && brine store remove 3");
}

function listCommand(): Command {
  return withCluster(new Command("list"))
    .description("List the stores with what they hold.")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  brine store list --data ./brine-data")
    .action(async (address: string | undefined, options: ClusterOptions & { json: boolean }) => {
      const { platform, addresses } = await findCluster(address, options);
      const { servers } = await askLeader(platform, addresses, readStatus, {});
      const stores = servers.filter(({ store }) => store !== 0);
      if (options.json) printJson(stores);
      else printTable([["STORE", "ADDRESS", "STATE", "USE", "FREE", "OF", "COPIES", "LABELS"], ...stores.map(cellsOf)]);
    });
}

function cellsOf(server: ServerStatus): string[] {
  const { store, address, status, groupsInSync } = server;
  const unfinished = server.groupsCatchingUp + server.groupsBehind;
  const copies = unfinished === 0 ? `${groupsInSync}` : `${groupsInSync}, ${unfinished} not in sync`;
  const labels = labelsText(server.labels);
  return [String(store), address, stateText(server), status, ...spaceCells(server), copies, labels];
}

/** Of a store for people: what it is, and what an operator says of it. */
export function stateText({ state, isSlow, isCalledSlow }: ServerStatus): string {
  const measured = isSlow ? "slow" : state;
  return isCalledSlow ? `${measured}, called slow` : measured;
}

/** FREE and OF; a leader hasn't heard yet from a store that was away when it took over. */
export function spaceCells({ freeBytes, totalBytes }: ServerStatus): [string, string] {
  return totalBytes === 0 ? ["-", "-"] : [sizeText(freeBytes), sizeText(totalBytes)];
}

function addCommand(): Command {
  return withCluster(new Command("add").argument("<store>", "its number or address, see brine store list"))
    .description(
      "Give a store its share of all copies. A server that joins a cluster with volumes is a spare until then.",
    )
    .addHelpText("after", "\nExample:\n  brine store add 127.0.0.1:7413 --data ./brine-data")
    .action(async (store: string, address: string | undefined, options: ClusterOptions) => {
      const { number } = await change({ store, change: "add" }, address, options);
      print(`store ${number} takes its share of the copies; "brine status --watch" shows how far it is`);
    });
}

function drainCommand(): Command {
  return withCluster(new Command("drain").argument("<store>", "its number or address"))
    .description("Move all copies away from a store. It goes on serving until they are elsewhere.")
    .option("--wait", "return when it is safe to remove", false)
    .addHelpText("after", "\nExample:\n  brine store drain 3 --wait --data ./brine-data")
    .action(async (store: string, address: string | undefined, options: ClusterOptions & { wait: boolean }) => {
      const { platform, addresses, number, groups } = await change({ store, change: "drain" }, address, options);
      if (groups > 0 && !options.wait) {
        print(`store ${number} is being emptied; "brine status --watch" shows how far it is`);
        return;
      }
      await waitEmpty(platform, addresses, number, groups);
      print(`store ${number} is empty: safe to remove ("brine store remove ${number}")`);
    });
}

function removeCommand(): Command {
  return withCluster(new Command("remove").argument("<store>", "its number or address"))
    .description("Take an empty store, or one that is gone for good, out of the cluster. Refused while it is needed.")
    .option(
      "--accept-loss",
      "it is gone for good, also if it had the last good copy of something: what no other store has is lost",
      false,
    )
    .addHelpText(
      "after",
      `
With --accept-loss groups of which the store had the last good copy go on with the copy that is the least out of
date, or empty. Reading what nobody has fails with EIO until it is written anew; what was overwritten while that copy
was out of date reads as it was before. "brine status" and "brine check" name what is lost.

Examples:
  brine store remove 3 --data ./brine-data
  brine store remove 3 --accept-loss 127.0.0.1:7411`,
    )
    .action(async (store: string, address: string | undefined, options: ClusterOptions & { acceptLoss: boolean }) => {
      const { number, groups, heirs } = await change(
        { store, change: options.acceptLoss ? "giveUp" : "remove" },
        address,
        options,
      );
      print(
        `store ${number} is removed${groups === 0 ? "" : `; the copies of ${groups} groups are made elsewhere now`}`,
      );
      for (const line of lossTexts(heirs)) print(line);
    });
}

/** What was lost with a store, for people. */
function lossTexts(heirs: readonly Heir[]): string[] {
  if (heirs.length === 0) return [];
  const lost = heirs.reduce((sum, { groups }) => sum + groups, 0);
  const ways = heirs.flatMap(({ store, groups, empty }) => [
    ...(groups > empty ? [`${groups - empty} go on with what store ${store} has of them`] : []),
    ...(empty > 0 ? [`${empty} begin empty on store ${store}`] : []),
  ]);
  const away = heirs.filter(({ isOnline }) => !isOnline);
  return [
    `! It had the last good copy of ${lost} groups: ${ways.join(", ")}.`,
    '! What no store has of them fails with EIO when it is read: "brine status" and "brine check" name it.',
    ...away.map(({ store }) => `! Store ${store} is offline: who uses its groups waits until it is back.`),
  ];
}

function labelCommand(): Command {
  return new Command("label")
    .argument("<store>", "its number or address")
    .argument(
      "<key=value...>",
      "labels to set; KEY= takes one away. Behind them, perhaps, HOST:PORT of a metadata server",
    )
    .addOption(dataOption())
    .description(
      "Set labels of a store while it runs. They stay until its server is started with others. Copies move to where they belong.",
    )
    .addHelpText("after", "\nExample:\n  brine store label 3 disk=ssd rack=r2 --data ./brine-data")
    .action(async (store: string, texts: readonly string[], options: ClusterOptions) => {
      const address = texts.find((text) => !text.includes("="));
      const changes = texts.filter((text) => text !== address).map(parseLabelChange);
      const { platform, addresses } = await findCluster(address, options);
      const { store: number, labels } = await askLeader(platform, addresses, labelStore, { store, labels: changes });
      print(`store ${number} has ${labels.length === 0 ? "no labels" : labelsText(labels)}`);
    });
}

function slowCommand(): Command {
  return withCluster(new Command("slow").argument("<store>", "its number or address"))
    .description(
      "Say that a store is slow: mounts read from it only what no other has, until it is taken back with --off. Writes go to it as before.",
    )
    .option("--off", "it is not slow any more", false)
    .addHelpText("after", "\nExample:\n  brine store slow 3 --data ./brine-data\n  brine store slow 3 --off")
    .action(async (store: string, address: string | undefined, options: ClusterOptions & { off: boolean }) => {
      const { number } = await change({ store, change: options.off ? "notSlow" : "slow" }, address, options);
      print(`store ${number} ${options.off ? "is read like the others" : "is read only where no other has a copy"}`);
    });
}

function parseLabelChange(text: string): Label {
  const removed = /^([A-Za-z0-9._-]{1,64})=$/.exec(text);
  return removed === null ? addLabel(text)[0]! : { key: removed[1]!, value: "" };
}

async function change(request: StoreChange, address: string | undefined, options: ClusterOptions) {
  const { platform, addresses } = await findCluster(address, options);
  const answer = await askLeader(platform, addresses, changeStore, request);
  return { platform, addresses, number: answer.store, ...answer };
}

/** Then who waits is told what is wrong. */
const standstillMs = 30_000;

async function waitEmpty(platform: Platform, addresses: readonly Address[], store: number, groups: number) {
  const progress = new Progress(platform.clock, `emptying store ${store}`, groups, "groups");
  const connection = new AdminConnection(platform, addresses);
  let [progressMs, before] = [platform.clock.nowMs(), ""];
  for (let left = groups; left > 0; ) {
    await sleep(platform.clock, 250);
    const { groups: all, healing, problems } = await connection.ask(readStatus, {});
    left = all.filter(({ members }) => members.some((member) => member.store === store)).length;
    progress.update(groups - left);
    const nowMs = platform.clock.nowMs();
    const now = `${left} ${healing?.donePermille} ${healing?.copiedBytes}`;
    if (now !== before) [progressMs, before] = [nowMs, now];
    if (nowMs - progressMs < standstillMs) continue;
    progressMs = nowMs;
    progress.note([`nothing has moved for ${standstillMs / 1000} s`, ...problems.map((text) => `! ${text}`)]);
  }
  connection.close();
  progress.finish();
}
