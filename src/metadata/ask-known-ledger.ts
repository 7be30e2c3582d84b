/** Asks a store that isn't connected, or not by us, whom it knows: up to which entry which leader's ledger went. */
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import type { KnownLedger } from "../wire/catalogue/handshake.ts";
import { readKnownLedger } from "../wire/catalogue/registration.ts";
import { connectPeer, type Identity } from "../wire/connect.ts";
import { Service } from "../wire/service.ts";

/** `serverId`: who is at the address now. Errors: those of connectPeer and of the request. */
export async function askKnownLedger(
  platform: Platform,
  address: Address,
  { clusterId, serverId, timeoutMs }: { clusterId: string; serverId: string; timeoutMs: number },
): Promise<{ serverId: string; known: KnownLedger }> {
  const identity: Identity = { role: "leader", clusterId, peerId: serverId, description: "the metadata server" };
  const peer = await connectPeer(platform, address, identity, new Service(), timeoutMs);
  try {
    const { body: known } = await peer.request(readKnownLedger, undefined, { timeoutMs });
    return { serverId: peer.serverId, known };
  } finally {
    peer.close("asked");
  }
}
