/**
 * Before a copy of the ledger is promoted: whether stores know entries that it hasn't.
 *
 * The voters know who was in step, by the servers' ids. They don't know that a server's machine or directory was set back since,
 * to a time with fewer entries, nor, without a witness, that the leader went on alone. Stores are told with heartbeats how far the
 * ledger is committed, and remember it. A copy in step has all of that.
 *
 * What they know under earlier terms says nothing: those entries may be of a history that was left, or were never acknowledged.
 */
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { askKnownLedger } from "./ask-known-ledger.ts";

const askMs = 2_000;

export interface CopiedEntries {
  readonly clusterId: string;
  readonly serverId: string;
  /** Under which the last leader led that is known here. */
  readonly term: number;
  readonly lastIndex: number;
  readonly stores: readonly { readonly store: number; readonly address: Address }[];
}

/** Which store knows what, for people; undefined: no store knows more. Those that don't answer are not waited for. */
export async function entriesElsewhere(platform: Platform, copy: CopiedEntries): Promise<string | undefined> {
  const { clusterId, serverId, stores } = copy;
  const asked = stores.map(async ({ store, address }) => {
    const { known } = await askKnownLedger(platform, address, { clusterId, serverId, timeoutMs: askMs });
    return { store, address, known };
  });
  for (const answer of await Promise.allSettled(asked)) {
    if (answer.status === "rejected") continue;
    const { store, address, known } = answer.value;
    if (known.term < copy.term || known.index <= copy.lastIndex) continue;
    return `store ${store} at ${address} knows entry ${known.index}, and it ends with ${copy.lastIndex}`;
  }
  return undefined;
}
