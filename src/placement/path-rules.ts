/**
 * Placement rules of a volume: which pool the file at a path belongs to, by the first rule that matches.
 *
 * Patterns are run by the leader, and by clients whenever they make a file, so none may take its time: globs are translated to
 * regular expressions, and all of them are run by RE2, whose time grows with the length of the text and no faster. What could grow
 * when it is compiled is bounded: a glob's alternatives, which are written out one by one, and the compiled program.
 */
import { toRegex } from "glob-to-regex.js";
import { RE2JS } from "re2js";
import { BrineError } from "../errors/brine-error.ts";
import { messageOf } from "../errors/message.ts";
import type { PlacementRule } from "../namespace/model.ts";

type Pattern = Pick<PlacementRule, "syntax" | "pattern">;

/** `{a,b}{c,d}` are four. */
const alternativesMax = 64;
/** Instructions of a compiled pattern: each character of a path may cost as many steps. */
const programMax = 2_000;

interface CompiledRule {
  readonly pool: number;
  /** Of the whole path, not of the name alone. */
  readonly isOfPath: boolean;
  matches(text: string): boolean;
}

export class PathRules {
  readonly #rules: readonly CompiledRule[];
  /** False: the name alone decides. */
  readonly needsPath: boolean;

  /** Errors: invalid. */
  constructor(rules: readonly PlacementRule[]) {
    this.#rules = rules.map((rule) => ({ pool: rule.pool, ...compile(rule) }));
    this.needsPath = this.#rules.some(({ isOfPath }) => isOfPath);
  }

  get isEmpty(): boolean {
    return this.#rules.length === 0;
  }

  /** @param path of the file in its volume, `/db/one`; without `needsPath` its name will do */
  poolOf(path: string): number {
    return this.#rules[this.indexOf(path)]?.pool ?? 0;
  }

  /** Of the rule that matches; -1: none does. */
  indexOf(path: string): number {
    const name = path.slice(path.lastIndexOf("/") + 1);
    return this.#rules.findIndex((rule) => rule.matches(rule.isOfPath ? path : name));
  }
}

/** Errors: invalid, with what is wrong with the pattern. */
export function checkPattern(pattern: Pattern): void {
  compile(pattern);
}

function compile({ syntax, pattern }: Pattern): Pick<CompiledRule, "isOfPath" | "matches"> {
  const isOfPath = syntax === "expression" || pattern.includes("/");
  const source = syntax === "expression" ? pattern : globSource(pattern);
  const compiled = compileExpression(source, pattern);
  return { isOfPath, matches: (text) => compiled.test(text) };
}

/** A glob with a slash is of the path from the volume's root on. */
function globSource(pattern: string): string {
  if (pattern === "") throw wrong(pattern, "it is empty");
  if (alternativesOf(pattern) > alternativesMax)
    throw wrong(pattern, `it stands for more than ${alternativesMax} globs`);
  // `{1..9}`: written out, too.
  if (/\{[^}]*\.\./.test(pattern)) throw wrong(pattern, "name what is meant instead of a range in braces");
  const isAnchored = !pattern.includes("/") || pattern.startsWith("/");
  try {
    return toRegex(isAnchored ? pattern : `/${pattern}`).source;
  } catch (error) {
    throw wrong(pattern, String(error));
  }
}

function compileExpression(source: string, pattern: string): RE2JS {
  if (/\{\d*,?\d{3,}/.test(source)) throw wrong(pattern, "something may come at most 99 times");
  let compiled: RE2JS;
  try {
    // A name may have a line feed in it.
    compiled = RE2JS.compile(source, RE2JS.DOTALL);
  } catch (error) {
    throw wrong(pattern, messageOf(error));
  }
  if (compiled.programSize() > programMax) throw wrong(pattern, "it is too complex");
  return compiled;
}

/** At most as many as this: what is written out for braces in braces is counted like for braces one behind the other. */
function alternativesOf(pattern: string): number {
  let count = 1;
  for (const group of pattern.split("{").slice(1)) count *= group.split(",").length;
  return count;
}

function wrong(pattern: string, reason: string): BrineError {
  return new BrineError("invalid", `"${pattern}" can't be used as a pattern: ${reason}`, {
    advice: 'write a glob ("*.jpg", "/db/**") or, with --regex, a regular expression that RE2 knows',
  });
}
