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
import type { KnownLedger } from "../wire/catalogue/handshake.ts";
import { readKnownLedger } from "../wire/catalogue/registration.ts";
import { connectPeer } from "../wire/connect.ts";
import { Service } from "../wire/service.ts";

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
  const answers = await Promise.all(
    copy.stores.map(async (one) => ({ ...one, known: await ask(platform, copy, one.address) })),
  );
  for (const { store, address, known } of answers) {
    if (known === undefined || known.term < copy.term || known.index <= copy.lastIndex) continue;
    return `store ${store} at ${address} knows entry ${known.index}, and it ends with ${copy.lastIndex}`;
  }
  return undefined;
}

async function ask(
  platform: Platform,
  { clusterId, serverId }: CopiedEntries,
  address: Address,
): Promise<KnownLedger | undefined> {
  const identity = { role: "leader" as const, clusterId, peerId: serverId, description: "the ledger's copy" };
  try {
    const peer = await connectPeer(platform, address, identity, new Service(), askMs);
    try {
      return (await peer.request(readKnownLedger, undefined, { timeoutMs: askMs })).body;
    } finally {
      peer.close("asked");
    }
  } catch {
    return undefined;
  }
}
