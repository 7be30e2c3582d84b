/**
 * Stores and mounts of another cluster that look for their leader at this server. Its data may not be where it was: a disk that is not
 * mounted, a directory that was removed. Started again it has made a new cluster then, in which nothing seems to be wrong.
 */
import type { Clock } from "../platform/clock.ts";
import type { Address } from "../platform/network.ts";
import type { HelloRequest } from "./catalogue/handshake.ts";

/** They try again every second or so. */
const rememberedMs = 60_000;
const clustersMax = 8;

interface Foreign {
  readonly who: string;
  readonly atMs: number;
}

export class ForeignPeers {
  readonly #clock: Pick<Clock, "nowMs">;
  /** By cluster: who was here last. */
  readonly #last = new Map<string, Foreign>();

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  /** Its hello was refused. Who merely asks (brine why) is not waiting for this server. */
  refused({ clusterId, role, description }: HelloRequest, from: Address): void {
    if (role !== "store" && role !== "client") return;
    this.#last.delete(clusterId);
    const who = `${role === "store" ? "A store" : "A mount"} (${description}, from ${from.slice(0, from.lastIndexOf(":"))})`;
    this.#last.set(clusterId, { who, atMs: this.#clock.nowMs() });
    for (const oldest of this.#last.keys()) {
      if (this.#last.size <= clustersMax) break;
      this.#last.delete(oldest);
    }
  }

  /** Sentences for people. */
  get problems(): string[] {
    const sinceMs = this.#clock.nowMs() - rememberedMs;
    return [...this.#last]
      .filter(([, { atMs }]) => atMs >= sinceMs)
      .map(
        ([cluster, { who }]) =>
          `${who} of another cluster, ${cluster}, looks for its leader here. Is this server's data directory the right one, and its disk mounted?`,
      );
  }
}
