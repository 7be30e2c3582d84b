/** What a store shows of itself to people: requests under way and what they wait for, and what it has, as metrics. */
import type { Metrics } from "../metrics/metrics.ts";
import { cloneChunk, equalize, fenceSession, readBlocks, reportBad, writeBlocks } from "../wire/catalogue/store.ts";
import type { ProcessWait } from "../wire/catalogue/watch.ts";
import type { RequestUnderWay, Service } from "../wire/service.ts";
import type { Store } from "./store.ts";

/** @param services over which requests come: from the leader, and from everybody else */
export function storeWaits(services: readonly Service[], store: Store, nowMs: number): ProcessWait[] {
  const underWay = services.flatMap((service) => [...service.underWay]);
  return underWay
    .filter(({ registration }) => registration.method.name.startsWith("store."))
    .map((request) => ({
      operation: `${request.registration.method.name} for ${whoAsks(request)}`,
      inode: 0,
      waitsFor: whatItWaitsFor(request, store),
      forMs: nowMs - request.arrivedMs,
    }));
}

function whoAsks({ peer }: RequestUnderWay): string {
  const { role, description, address } = peer.remote;
  return role === "server" ? `the leader at ${address}` : description;
}

function whatItWaitsFor({ registration, body }: RequestUnderWay, store: Store): string {
  switch (registration.method.id) {
    case readBlocks.id:
    case reportBad.id:
      return "its disk, to be read";
    case equalize.id:
      return `blocks of group ${(body as { group: number }).group} from ${(body as { source: string }).source}`;
    case fenceSession.id:
      return `requests of session ${(body as { session: number }).session} that are under way`;
    case writeBlocks.id:
    case cloneChunk.id:
      if (store.isFull) return "room on its disk, which is full";
      return store.isReadyToWrite ? "its disk, to be written" : "its turn to be written: the log's queue is full";
    default:
      return "its disk, to be written";
  }
}

export function registerStoreGauges(metrics: Metrics, store: Store): void {
  const gauge = (name: string, help: string, read: () => number) => metrics.gauge(name, help, {}, read);
  gauge("brine_store_total_bytes", "Size of the disk.", () => store.space.totalBytes);
  gauge("brine_store_free_bytes", "What clients can still write.", () => store.space.freeBytes);
  gauge("brine_store_live_bytes", "Data that chunks hold.", () => store.liveBytes);
  gauge("brine_store_bad_blocks", "Blocks found with a wrong checksum since the store was made.", () => {
    return store.space.badBlocks;
  });
  gauge("brine_store_repaired_blocks", "Of the bad blocks: a good copy has taken their place.", () => {
    return store.badBlocks.repaired;
  });
  gauge(
    "brine_store_compacted_bytes",
    "Live data moved out of segments that were mostly dead, since the start.",
    () => {
      return store.compaction.totals.movedBytes;
    },
  );
}
