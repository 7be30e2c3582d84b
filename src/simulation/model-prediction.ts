/** What the model says an operation gives, and whether it is what it gave. */
import type { Attributes } from "../client/file-system.ts";
import { describeOutcome, type Outcome } from "./file-operation.ts";
import type { Model, ModelInode } from "./model.ts";
import { withoutUse } from "./model-rules.ts";
import { compareBytes, describeBytes, type Piece, within } from "./tagged-data.ts";

export type Prediction =
  /** The inode is gone: there is no right answer. */
  | { readonly kind: "any" }
  /** One of these error numbers. */
  | { readonly kind: "failed"; readonly errnos: readonly string[] }
  /** Attributes of the inode as it was. */
  | { readonly kind: "attributes"; readonly inode: ModelInode; readonly subdirectories: number }
  | { readonly kind: "absent" }
  | { readonly kind: "target"; readonly target: string }
  | { readonly kind: "data"; readonly pieces: readonly Piece[]; readonly offset: number; readonly length: number }
  | { readonly kind: "written"; readonly length: number }
  | { readonly kind: "entries"; readonly entries: ReadonlyMap<string, ModelInode> }
  | { readonly kind: "names"; readonly names: readonly string[] }
  | { readonly kind: "done" };

export const anything: Prediction = { kind: "any" };

/** The model, with what the outcome told of it; or why this outcome can't be. */
export function match(model: Model, prediction: Prediction, outcome: Outcome): Model | string {
  if (prediction.kind === "any") return model;
  if (prediction.kind === "failed") {
    if (outcome.kind === "failed" && prediction.errnos.includes(outcome.errno)) return model;
    return `expected ${prediction.errnos.join(" or ")}, got ${describeOutcome(outcome)}`;
  }
  if (prediction.kind === "attributes" && outcome.kind === "found") {
    return matchNumber(model, prediction.inode, outcome.inode);
  }
  if (prediction.kind !== outcome.kind) {
    return `expected ${describePrediction(prediction)}, got ${describeOutcome(outcome)}`;
  }
  switch (prediction.kind) {
    case "attributes":
      return matchAttributes(model, prediction, (outcome as { attributes: Attributes }).attributes);
    case "target": {
      const { target } = outcome as { target: string };
      return target === prediction.target ? model : `expected target ${prediction.target}, got ${target}`;
    }
    case "written": {
      const { length } = outcome as { length: number };
      return length === prediction.length ? model : `expected ${prediction.length} bytes written, got ${length}`;
    }
    case "names": {
      const got = [...(outcome as { names: readonly string[] }).names].sort().join();
      return got === prediction.names.join() ? model : `expected names ${prediction.names.join()}, got ${got}`;
    }
    case "data":
      return matchData(model, prediction, (outcome as { bytes: Uint8Array }).bytes);
    case "entries":
      return matchEntries(model, prediction.entries, (outcome as Extract<Outcome, { kind: "entries" }>).entries);
    default:
      return model;
  }
}

function matchAttributes(
  model: Model,
  { inode, subdirectories }: Extract<Prediction, { kind: "attributes" }>,
  actual: Attributes,
): Model | string {
  const directory = inode.type === "directory";
  const expected = {
    type: inode.type,
    mode: inode.mode,
    uid: inode.uid,
    gid: inode.gid,
    linkCount: directory ? 2 + subdirectories : inode.linkCount,
    size: directory ? inode.entries.size * 32 : inode.size,
  };
  for (const [field, value] of Object.entries(expected)) {
    const got = actual[field as keyof typeof expected];
    if (got !== value) return `expected ${field} ${value}, got ${got} (inode ${actual.inode})`;
  }
  return matchNumber(model, inode, actual.inode);
}

function matchNumber(model: Model, inode: ModelInode, actual: number): Model | string {
  // It was made, and lost before its maker was answered.
  if (!model.has(inode.key)) {
    if (model.numbered(actual) !== undefined) return `inode ${actual} is another one`;
    return model.with(withoutUse({ ...inode, number: actual }));
  }
  const bound = model.bound(inode.key, actual);
  return bound ?? `expected inode ${model.inode(inode.key).number ?? "of a number never seen"}, got ${actual}`;
}

function matchData(
  model: Model,
  { pieces, offset, length }: Extract<Prediction, { kind: "data" }>,
  bytes: Uint8Array,
): Model | string {
  if (bytes.byteLength !== length) return `expected ${length} bytes at ${offset}, got ${bytes.byteLength}`;
  const compared = compareBytes(pieces, offset, bytes, model.choices);
  if (!("differsAt" in compared)) return model.withChoices(compared);
  const at = compared.differsAt;
  const [piece] = within(pieces, at, offset + length);
  const expected = piece!.source === undefined ? "zeros" : JSON.stringify(piece!.source);
  const got = describeBytes(bytes.subarray(at - offset, piece!.end - offset));
  return `expected ${expected} at [${at}, ${piece!.end}), got ${got}`;
}

function matchEntries(
  model: Model,
  expected: ReadonlyMap<string, ModelInode>,
  actual: readonly { readonly name: string; readonly inode: number }[],
): Model | string {
  const names = (list: Iterable<string>) => [...list].sort().join(" ") || "nothing";
  const got = names(actual.map(({ name }) => name));
  if (got !== names(expected.keys())) return `expected entries ${names(expected.keys())}, got ${got}`;
  let bound = model;
  for (const { name, inode } of actual) {
    const after = matchNumber(bound, expected.get(name)!, inode);
    if (typeof after === "string") return `entry ${name}: ${after}`;
    bound = after;
  }
  return bound;
}

/** Equal predictions have equal texts. */
export function predictionKey(prediction: Prediction): string {
  switch (prediction.kind) {
    case "entries":
      return `entries ${JSON.stringify([...prediction.entries].map(([name, { key }]) => [name, key]).sort())}`;
    case "attributes": {
      const { key, mode, uid, gid, linkCount, size, entries } = prediction.inode;
      return `attributes ${[key, mode, uid, gid, linkCount, size, entries.size, prediction.subdirectories].join()}`;
    }
    case "data":
      return `data ${JSON.stringify(prediction)}`;
    default:
      return JSON.stringify(prediction);
  }
}

function describePrediction(prediction: Prediction): string {
  switch (prediction.kind) {
    case "attributes":
      return `attributes of inode ${prediction.inode.number ?? "just made"}`;
    case "data":
      return `${prediction.length} bytes`;
    case "entries":
      return `${prediction.entries.size} entries`;
    default:
      return prediction.kind;
  }
}
