/**
 * What an operation is given. An operation first checks everything, throwing FileError, and then changes the tables: one
 * that fails has changed nothing (apply.ts asserts it).
 */
import type { Session } from "./tables/session-table.ts";
import type { Tables } from "./tables/tables.ts";

/** For operations of the leader. */
export interface Context {
  readonly tables: Tables;
  /** The transaction's time. */
  readonly timeNs: bigint;
}

/** For operations of clients: in the volume of their session. */
export interface ClientContext extends Context {
  readonly session: Session;
  readonly volume: number;
  /** The transaction's number in its session. */
  readonly sequence: number;
}
