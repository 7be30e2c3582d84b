/** A possible present of the file system, in the eyes of the checker of histories. */
import type { FileOperation } from "../file-operation.ts";
import type { Model } from "../model.ts";
import { type Prediction, predictionKey } from "../model-prediction.ts";
import { type Piece, wholeChain } from "../tagged-data.ts";
import { chainName, UnsyncedLog } from "./unsynced-log.ts";

/** A copy from one file to another, which reads and writes in steps. */
export interface Copying {
  readonly copiedBytes: number;
  /** What has been read and not been written, at its place in the target. */
  readonly read: readonly Piece[] | undefined;
  /** A step was made shorter. */
  readonly isShort?: boolean;
}

export interface Configuration {
  readonly model: Model;
  /** What of it may still be lost. */
  readonly log: UnsyncedLog;
  /** Operations under way that have taken effect, and ends of sessions. */
  readonly effective: ReadonlyMap<number, Prediction>;
  /** Copies under way that have taken effect in part, or only read. */
  readonly copies: ReadonlyMap<number, Copying>;
  /** By client and end of a session that the client survived: inodes that lost a change. */
  readonly losses: ReadonlyMap<string, ReadonlySet<number>>;
}

/** What the file system is at first, for certain. */
export function startingFrom(model: Model): Configuration {
  return { model, log: UnsyncedLog.on(model), effective: new Map(), copies: new Map(), losses: new Map() };
}

/** Adds the configuration unless an equal one is there. */
export function keep(configurations: Map<string, Configuration>, configuration: Configuration): boolean {
  const { model, effective, log, losses, copies } = configuration;
  let key = `${model.fingerprint};${[...model.choices].sort().join()};${log.key}`;
  for (const id of [...effective.keys()].sort((left, right) => left - right)) {
    key += `;${id} ${predictionKey(effective.get(id)!)}`;
  }
  for (const [id, copying] of [...copies].sort(([left], [right]) => left - right))
    key += `;${id} ${JSON.stringify(copying)}`;
  for (const [end, inodes] of losses) key += `;${end}: ${[...inodes].sort().join()}`;
  if (configurations.has(key)) return false;
  configurations.set(key, configuration);
  return true;
}

/** The configuration once an operation under way is over. */
export function without(configuration: Configuration, id: number): Configuration {
  if (!configuration.effective.has(id) && !configuration.copies.has(id)) return configuration;
  const [effective, copies] = [new Map(configuration.effective), new Map(configuration.copies)];
  effective.delete(id);
  copies.delete(id);
  return { ...configuration, effective, copies };
}

/** Numbers of the inodes that the client has changed without proof that it will stay so, in any of them. */
export function unsyncedNumbers(configurations: readonly Configuration[], client: string): number[] {
  const numbers = configurations.flatMap(({ model, log }) =>
    [...log.changedBy(client)].map((key) => (model.has(key) ? model.inode(key).number : undefined)),
  );
  return [...new Set(numbers)].filter((number) => number !== undefined).sort((left, right) => left - right);
}

export function lossName(client: string, end: number): string {
  return `${client}|${end}`;
}

/**
 * A handle from before the end of a session has been told that all changes of the inode (undefined: of any) are durable.
 * Undefined if that can't be.
 */
export function nothingLost(
  configuration: Configuration,
  client: string,
  end: number,
  inode: number | undefined,
): Configuration | undefined {
  const lost = configuration.losses.get(lossName(client, end));
  if (lost === undefined) return configuration;
  if (inode === undefined ? lost.size > 0 : lost.has(inode)) return undefined;
  const { model } = configuration;
  let choices: Model["choices"] | undefined = model.choices;
  for (const { key, pieces } of inode === undefined ? model.inodes() : [model.inode(inode)]) {
    if (choices === undefined) return undefined;
    choices = wholeChain(pieces, choices, chainName(client, `${end}`, key), Number.POSITIVE_INFINITY);
  }
  return choices && { ...configuration, model: model.withChoices(choices) };
}

/** False while the model has no inode of a number: the outcome that told of it has not been explained there. */
export function isKnown(model: Model, operation: FileOperation): boolean {
  return [
    "inode" in operation ? operation.inode : undefined,
    "parent" in operation ? operation.parent : undefined,
    "newParent" in operation ? operation.newParent : undefined,
    "source" in operation ? operation.source : undefined,
  ].every((number) => number === undefined || model.numbered(number) !== undefined);
}
