/** What others ask of a server's metadata role: of the leader, of the copy, or of whichever of both it is. */
import { BrineError } from "../errors/brine-error.ts";
import type { CopiedLedger } from "../ledger/copies/copied-ledger.ts";
import type { Address } from "../platform/network.ts";
import {
  appendEntries,
  attachCopy,
  forgetCopy,
  joinLedger,
  type LedgerMember,
  promoteLedger,
  readEntries,
  replaceState,
  setWitness,
} from "../wire/catalogue/ledger.ts";
import type { Peer } from "../wire/peer.ts";
import type { Service } from "../wire/service.ts";
import type { LedgerCopy, Sender } from "./ledger-copy.ts";
import { type MetadataServer, registerLeader } from "./metadata-server.ts";

/** The first two throw while the server is something else. */
export interface RoleParts {
  leading(): { server: MetadataServer; ledger: CopiedLedger };
  copy(): LedgerCopy;
  promote(how: { oldLeaderIsOff: boolean; acceptLoss: boolean }): Promise<{ term: number }>;
}

export function registerRole(service: Service, parts: RoleParts): void {
  registerLeader(service, () => parts.leading().server);
  registerCopy(service, parts);
  const ledgerOfLeader = () => {
    const { server, ledger } = parts.leading();
    void server.parts; // throws while it must not answer
    return ledger;
  };
  service.handle(
    joinLedger,
    async ({ serverId, address, rule }) => {
      await ledgerOfLeader().join({ serverId, address }, rule);
      return {};
    },
    { roles: ["store"] },
  );
  const admin = ["admin"] as const;
  service.handle(
    forgetCopy,
    async ({ address }) => {
      await ledgerOfLeader().forget(address);
      return {};
    },
    { roles: admin },
  );
  service.handle(
    setWitness,
    async ({ address }) => {
      await ledgerOfLeader().appointWitness(witnessAt(parts.leading().server, address));
      return {};
    },
    { roles: admin },
  );
  service.handle(promoteLedger, (body) => parts.promote(body), { roles: admin });
}

/** What the leader asks of its copy. */
function registerCopy(service: Service, parts: RoleParts): void {
  const leader = ["leader"] as const;
  const senderOf = (term: number, connection: Peer): Sender => ({ term, leader: connection.remote.peerId, connection });
  service.handle(attachCopy, ({ term }, _payload, peer) => parts.copy().attach(senderOf(term, peer)), {
    roles: leader,
  });
  service.handle(
    appendEntries,
    async ({ term, entries }, _payload, peer) => {
      await parts.copy().append(senderOf(term, peer), entries);
      return {};
    },
    { roles: leader },
  );
  service.handle(
    readEntries,
    async ({ term, from }, _payload, peer) => ({
      entries: await parts.copy().entries(senderOf(term, peer), from),
    }),
    { roles: leader },
  );
  service.handle(
    replaceState,
    async ({ term, ...part }, _payload, peer) => {
      await parts.copy().replace(senderOf(term, peer), part);
      return {};
    },
    { roles: leader },
  );
}

/** Error: notFound. */
function witnessAt(server: MetadataServer, address: Address): LedgerMember {
  const store = server.parts.stores.all().find((one) => one.address === address && one.peer !== undefined);
  if (store !== undefined) return { serverId: store.serverId, address };
  throw new BrineError("notFound", `no store's server is connected at ${address}`, {
    advice: "brine store list shows the stores with their addresses",
  });
}
