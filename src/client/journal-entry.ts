/** An entry of the journal: what it changes, the data that it waits for, and which two become one. */
import type { Mapping } from "../namespace/model.ts";
import { mappingsMax, type Operation, type OperationOf } from "../namespace/operation.ts";
import type { Node } from "./node.ts";
import type { Outgoing } from "./transactions.ts";

/** Data that has to be durable before its entry is sent: see FileContent. */
export interface EntryData {
  readonly content: {
    isDurable(mark: number): boolean;
    /** All that is dirty is on its way to the stores, and waits for no entry. */
    readonly isUnderWay: boolean;
    flush(mark: number): void;
  };
  readonly mark: number;
  /** Whether bytes become part of the file, or take the place of others. */
  readonly effect: "adds" | "overwrites" | "both";
}

export interface Entry extends Outgoing {
  readonly position: number;
  operation: Operation;
  timeNs: bigint | undefined;
  data: EntryData | undefined;
  readonly nodes: readonly Node[];
}

/** Without it the bytes are found all the same, in a file of the same size and mode. */
export function onlyOverwrites(operation: Operation, data: EntryData | undefined): boolean {
  return data?.effect === "overwrites" && !(operation.kind === "write" && operation.killPrivileges);
}

/** A directory gets another place, or other attributes: who may reach what is below it may be others then. */
export function movesOrGuards(operation: Operation, nodes: readonly Node[]): boolean {
  const isDirectory = ({ record }: Node) => record.attributes.type === "directory";
  switch (operation.kind) {
    case "create":
    case "createUnnamed":
    case "link":
    case "unlink":
    case "rmdir":
      return false;
    case "rename":
    case "exchange":
      return nodes.some(
        (node) => isDirectory(node) && node.inode !== operation.parent && node.inode !== operation.newParent,
      );
    default:
      return nodes.some(isDirectory);
  }
}

/** Whether writes with these data may be one entry. */
export function mayJoin(first: EntryData, second: EntryData): boolean {
  return first.effect === second.effect && first.effect !== "both";
}

/** Both in one, if the outcome is the same for everybody; or undefined. */
export function joinOperations(first: Operation, second: Operation): Operation | undefined {
  if (first.kind === "write" && second.kind === "write") return joinWrites(first, second);
  if (first.kind === "setAttributes" && second.kind === "setAttributes") return joinAttributes(first, second);
  return undefined;
}

function joinWrites(first: OperationOf<"write">, second: OperationOf<"write">): Operation | undefined {
  if (first.inode !== second.inode || first.mappings.length + second.mappings.length > mappingsMax) return undefined;
  const isKnown = ({ index }: Mapping) => second.mappings.some((later) => later.index === index);
  return {
    kind: "write",
    inode: first.inode,
    mappings: [...first.mappings.filter((mapping) => !isKnown(mapping)), ...second.mappings],
    end: Math.max(first.end, second.end),
    killPrivileges: first.killPrivileges || second.killPrivileges,
  };
}

/** Not with sizes, and only where no earlier "now" would get the later time. */
function joinAttributes(
  first: OperationOf<"setAttributes">,
  second: OperationOf<"setAttributes">,
): Operation | undefined {
  if (first.inode !== second.inode || first.size !== undefined || second.size !== undefined) return undefined;
  if (second.killPrivileges || second.ctime !== undefined || first.ctime !== undefined) return undefined;
  if (first.atime?.kind === "now" && second.atime === undefined) return undefined;
  if (first.mtime?.kind === "now" && second.mtime === undefined) return undefined;
  return {
    ...first,
    mode: second.mode ?? first.mode,
    uid: second.uid ?? first.uid,
    gid: second.gid ?? first.gid,
    atime: second.atime ?? first.atime,
    mtime: second.mtime ?? first.mtime,
  };
}
