/**
 * Whether this leader has an old copy of the metadata: its machine was set back to a snapshot, or its directory was copied, and the
 * cluster was led on from the other one. Stores refuse it then (wire/known-term.ts), but a mount that has met neither would be shown
 * old names. So the stores that don't register are asked whom they know.
 *
 * A new store in the place of one that was lost may have met nobody but an old copy, whose term can be higher than that of the leader that
 * it is a copy of. Such a store is believed only if it knows entries that this leader hasn't.
 */
import { BrineError } from "../errors/brine-error.ts";
import { type Leading, whyOutdated } from "../wire/known-term.ts";
import { askKnownLedger } from "./ask-known-ledger.ts";
import type { Leader } from "./leader.ts";
import type { StoreState, Stores } from "./stores.ts";

/** Between questions to a store. At first more often: until it is known, wrong answers are given. */
const askMs = 5_000;
const askSoonMs = 250;
const soonMs = 5_000;

export interface NewerLeaderOptions {
  readonly leader: Leader;
  readonly stores: Stores;
  readonly clusterId: string;
  readonly serverId: string;
  readonly own: Leading;
  /** The last entry that is committed. */
  readonly lastIndex: () => number;
  readonly onOutdated: (error: BrineError) => void;
}

export class NewerLeader {
  readonly #options: NewerLeaderOptions;
  readonly #asking = new Set<number>();
  #startedMs = 0;
  #askedMs = Number.NEGATIVE_INFINITY;

  constructor(options: NewerLeaderOptions) {
    this.#options = options;
  }

  start(): void {
    const { lifetime } = this.#options.leader;
    this.#startedMs = lifetime.nowMs();
    this.#look();
    lifetime.repeat(askSoonMs, () => this.#look());
  }

  #look(): void {
    const { leader, stores, serverId } = this.#options;
    const { lifetime } = leader;
    const nowMs = lifetime.nowMs();
    if (nowMs - this.#startedMs > soonMs && nowMs - this.#askedMs < askMs) return;
    this.#askedMs = nowMs;
    for (const state of stores.all()) {
      const isSilent = state.peer === undefined && !state.isRefused;
      if (!isSilent || state.serverId === serverId || this.#asking.has(state.store)) continue;
      this.#asking.add(state.store);
      lifetime.run("ask a store whom it knows", () => this.#ask(state).finally(() => this.#asking.delete(state.store)));
    }
  }

  async #ask({ store, address, serverId: expected }: StoreState): Promise<void> {
    const { leader, clusterId, serverId, own, lastIndex, onOutdated } = this.#options;
    const { platform, timeouts, lifetime } = leader;
    try {
      const answer = await askKnownLedger(platform, address, { clusterId, serverId, timeoutMs: timeouts.probeMs });
      const { known } = answer;
      const reason = whyOutdated(own, known);
      const isNew = answer.serverId !== expected && known.history === own.origin?.history;
      if (reason === undefined || lifetime.stopped || (isNew && known.index <= lastIndex())) return;
      onOutdated(outdated(store, address, reason));
    } catch {
      // It is down, or no store any more: it is asked again, and says it itself when it registers.
    }
  }
}

function outdated(store: number, address: string, reason: string): BrineError {
  return new BrineError("notServing", `this metadata server is refused by store ${store} at ${address}: ${reason}`, {
    advice:
      "stop it, and start the one with the newest metadata. If there is none, brine backup-metadata still works here: restore that, and go on with what is in it",
  });
}
