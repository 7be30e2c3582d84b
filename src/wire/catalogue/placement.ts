/** What the command line asks about where files go: placement rules, labels of stores. Numbers 330–339. */
import { boolean, type Infer, list, optional, struct, text, u8, u16, u32, u64, union } from "../../codec/schema.ts";
import {
  label,
  labelsMax,
  memberState,
  patternBytesMax,
  patternSyntax,
  poolLabelsMax,
  rulesMax,
} from "../../namespace/model.ts";
import { method } from "../method.ts";

export const shownRule = struct({
  syntax: patternSyntax,
  pattern: text(patternBytesMax),
  replicas: u8,
  labels: list(label, poolLabelsMax),
});
export type ShownRule = Infer<typeof shownRule>;

const rulesShown = struct({
  failureDomain: text(64),
  /** In their order: the first that matches counts. */
  rules: list(shownRule, rulesMax),
  /** For each rule: what it asks for and can't have; empty if all is well. */
  shortfalls: list(text(1024), rulesMax),
});
export type RulesShown = Infer<typeof rulesShown>;

/** Errors: notFound (no such volume). */
export const readRules = method(330, "admin.readRules", struct({ volume: text(64) }), rulesShown);

/**
 * Positions count from 1. `add` at position 0: behind the last. `failureDomain`: the label by which copies are kept apart. Answered
 * when all clients know what is new. Errors: notFound, invalid, busy.
 */
const rulesChange = struct({
  volume: text(64),
  change: union({
    add: struct({ position: u16, rule: shownRule }),
    remove: struct({ position: u16 }),
    move: struct({ position: u16, to: u16 }),
    failureDomain: struct({ key: text(64) }),
  }),
});
export type RulesChange = Infer<typeof rulesChange>;
export const changeRules = method(331, "admin.changeRules", rulesChange, rulesShown);

/** Labels of a store, by its number or address; an empty value takes one away. Errors: notFound, invalid. */
export const labelStore = method(
  332,
  "admin.labelStore",
  struct({ store: text(256), labels: list(label, labelsMax) }),
  struct({ store: u32, labels: list(label, labelsMax) }),
);

/** Most ranges of chunks in one answer of locateFile. */
export const rangesMax = 4096;

export const fileLocation = struct({
  /** The end of the path, where the leader doesn't know all of it; then the rest is about the directory before. */
  missing: text(8192),
  inode: u64,
  path: text(8192),
  type: text(16),
  size: u64,
  /** What its pool asks for. */
  replicas: u8,
  labels: list(label, poolLabelsMax),
  /** The rule that matches its path now, and its position; none: the volume's own groups. */
  rule: optional(struct({ position: u16, rule: shownRule })),
  /** All its chunks are in the groups that this rule says, and new ones will be. */
  isInPlace: boolean,
  groups: list(
    struct({
      group: u16,
      generation: u32,
      chunks: u32,
      members: list(
        struct({
          store: u32,
          address: text(256),
          state: memberState,
          condition: text(16),
          labels: list(label, labelsMax),
        }),
        16,
      ),
    }),
    rangesMax,
  ),
  /** Chunks with indexes from `first` to `last`, of one group; what is not named is a hole, or behind `listedBelow`. */
  ranges: list(struct({ first: u32, last: u32, group: u16 }), rangesMax),
  listedBelow: u32,
});
export type FileLocation = Infer<typeof fileLocation>;

/** Where a file is. `inode` 0: it is found by its path. Errors: notFound (no such volume). */
export const locateFile = method(
  333,
  "admin.locate",
  struct({ volume: text(64), inode: u64, path: text(8192), from: u32 }),
  fileLocation,
);

/** Nothing is left out of the answer. */
export const listedToEnd = 2 ** 32 - 1;
