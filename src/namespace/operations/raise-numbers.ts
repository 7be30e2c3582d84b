/**
 * raiseNumbers: a copy of the ledger leads without changes that were acknowledged. As after a restore (restored.ts), everything that
 * counts is raised by far more than can have been used.
 *
 * Errors: ENOSPC (numbers are used up; none is raised then).
 */
import { hasCode } from "../../errors/brine-error.ts";
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import type { Result } from "../operation.ts";
import { raisedCounters, raisedGroup } from "../restored.ts";

export function raiseNumbers({ tables }: Context): Result {
  const { header, groups } = tables;
  try {
    const counters = raisedCounters((counter) => header.peek(counter));
    const raised = groups.groups().map(raisedGroup);
    for (const [counter, next] of counters) header.skipTo(counter, next);
    for (const group of raised) groups.putGroup(group);
  } catch (error) {
    throw hasCode(error, "invalid") ? new FileError("ENOSPC", error.message) : error;
  }
  return { kind: "done" };
}
