/** What people and scripts see: tables, JSON, errors with advice, exit codes. */
import { BrineError } from "../errors/brine-error.ts";
import { DiskError } from "../platform/disk.ts";
import { print, printError } from "../platform/processes.ts";

/** Part of the interface; see `brine --help`. */
export const exitCodes = { done: 0, failed: 1, usage: 2, notThere: 3 } as const;

/** Of a file or directory that somebody named. */
const diskAdvice: Record<string, string> = {
  ENOENT: "there is no such directory",
  ENOTDIR: "a part of the path is no directory",
  EISDIR: "it is a directory",
  EEXIST: "it is there, and is no directory",
  EACCES: "not permitted to this user",
  EPERM: "not permitted to this user",
  EROFS: "the file system is mounted read-only",
  ENOSPC: "the disk is full: make room on it",
};

/** Prints an error in one line, with its advice, and returns the exit code that belongs to it. */
export function reportError(error: unknown): number {
  if (error instanceof DiskError) {
    printError(`brine: ${error.message}: ${diskAdvice[error.code] ?? "see the kernel's log (dmesg)"}`);
    return exitCodes.failed;
  }
  if (!(error instanceof BrineError)) {
    printError(`brine: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    return exitCodes.failed;
  }
  printError(`brine: ${oneLine(error)}`);
  if (["unreachable", "notFound", "protocol"].includes(error.code)) return exitCodes.notThere;
  return error.code === "invalid" ? exitCodes.usage : exitCodes.failed;
}

/** `message: advice`, in one line. */
export function oneLine(error: BrineError): string {
  const message = error.message.replaceAll("\n", " ");
  return plain(error.advice === undefined ? message : `${message}: ${error.advice}`);
}

/** What others have said, as a terminal may have it: control characters (escapes, line ends) as \u escapes. */
export function plain(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u${character.codePointAt(0)!.toString(16).padStart(4, "0")}`,
  );
}

/** One line with names in it that others have chosen: of files, volumes, labels. */
export function printPlain(line: string): void {
  print(plain(line));
}

/** JSON for scripts: bigints as decimal strings, bytes as hex. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, (_, one) => (typeof one === "bigint" ? one.toString() : one), 2));
}

/** Columns, each as wide as its widest cell; the first row is the header. */
export function printTable(texts: readonly (readonly string[])[]): void {
  const rows = texts.map((row) => row.map(plain));
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  for (const row of rows) {
    print(
      row
        .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column]!)))
        .join("  ")
        .trimEnd(),
    );
  }
}

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** `1.5 GiB`. */
export function sizeText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

const memberWords = { inSync: "in sync", catchingUp: "catching up", behind: "behind" };

/** `in sync`, `behind, offline`: what a store has of a group, and how its server is unless that serves. */
export function memberText({ state, condition }: { state: keyof typeof memberWords; condition: string }): string {
  return condition === "online" ? memberWords[state] : `${memberWords[state]}, ${condition}`;
}
