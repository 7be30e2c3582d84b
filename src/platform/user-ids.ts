/** Numbers of users and groups by their names, as this machine has them in its files. */
import { readFileSync } from "node:fs";

const files = { user: "/etc/passwd", group: "/etc/group" } as const;

/** Undefined for a name that isn't there. */
export function idOfName(kind: "user" | "group", name: string): number | undefined {
  return entries(kind).find((entry) => entry.name === name)?.id;
}

/** Undefined for a number that has no name. */
export function nameOfId(kind: "user" | "group", id: number): string | undefined {
  return entries(kind).find((entry) => entry.id === id)?.name;
}

/** passwd(5), group(5): name, password, number, … */
function entries(kind: "user" | "group"): { name: string; id: number }[] {
  let text: string;
  try {
    text = readFileSync(files[kind], "utf8");
  } catch {
    return [];
  }
  return text
    .split("\n")
    .map((line) => line.split(":"))
    .filter(([name, , id]) => name !== undefined && /^\d+$/.test(id ?? ""))
    .map(([name, , id]) => ({ name: name!, id: Number(id) }));
}
