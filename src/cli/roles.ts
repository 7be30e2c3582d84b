/** Roles of a server, as options name them. */
import { BrineError } from "../errors/brine-error.ts";

export const allRoles: readonly string[] = ["metadata", "store"];

/** `metadata,store` as a list. Error: invalid. */
export function parseRoles(text: string): string[] {
  const roles = text.split(",");
  const unknown = roles.find((role) => !allRoles.includes(role));
  if (unknown !== undefined) {
    throw new BrineError("invalid", `"${unknown}" is no role`, { advice: "roles are metadata and store" });
  }
  return roles;
}
