/**
 * All time-outs of the metadata server, in one place, each with its reason. Simulations and tests change them.
 *
 * Those that others count too (a client its session, a store its serving time) are counted there from the *sending* of
 * the last message that was answered, here from its *receipt*, and here a margin is added. So the other side has always
 * stopped before this one acts on it, as long as clocks drift less than the margin.
 */

export interface Timeouts {
  /** A client that isn't heard of for so long is dead. Ten heartbeats of one second; longer than a restart of a server. */
  readonly sessionMs: number;
  /** Clocks that drift by 1 % apart, and half a second for a busy event loop. */
  readonly sessionMarginMs: number;
  /** A store serves so long after a heartbeat. Short: a silent store stalls its writers until then. */
  readonly storeServeMs: number;
  readonly storeMarginMs: number;
  /** Several fit into storeServeMs, so that one that is late takes nothing out of service. */
  readonly storeHeartbeatMs: number;
  /** After the leader's start: stores that start at the same time are waited for before they are called failed. */
  readonly storeStartupMs: number;
  /** While nobody has mounted anything a failed store stays in its groups so long: a whole cluster that is stopped stays in sync. */
  readonly storeIdleMs: number;
  /** Asking a failed store's address whether anyone listens: one round trip. */
  readonly probeMs: number;
  /** Between two such questions to a store that is not connected. */
  readonly probeIntervalMs: number;
  /** A store writes new groups to its disk and waits for requests under way. Those of a healthy disk take milliseconds. */
  readonly setGroupsMs: number;
  /** A store stops serving groups: no disk has a part in it. Meanwhile no other member can be taken out. */
  readonly leaveGroupsMs: number;
  /** A store that is dead for so long is not waited for any more: its groups are copied to others. */
  readonly rebuildAfterMs: number;
  /** A store waits for the session's requests under way: at most some MiB of writes. */
  readonly fenceMs: number;
  /** Up to 4,096 chunks, one sync; a punched range each. */
  readonly deleteChunksMs: number;
  /** Comparing (and where they differ, copying) all chunks of a group. */
  readonly equalizeMs: number;
  /** Answered at once; longer than a pause of a garbage collector. */
  readonly startCatchUpMs: number;
  /** A catch-up that is silent for so long is begun again in a new generation. */
  readonly catchUpMs: number;
  /** A store on which a catch-up failed is tried again after so long. */
  readonly catchUpRetryMs: number;
  /** Clients answer recalls and news of groups at once. */
  readonly clientAnswerMs: number;
  /** A recall that has not led to a release is sent again. */
  readonly recallAgainMs: number;
  /** Who asks for many leases at once gets those that others give back within this time: a recall, a commit, a release over a network. */
  readonly leasesSoonMs: number;
  /** A wait that is longer is reported once. */
  readonly waitWarningMs: number;
  /** The state is committed so long after a change: what a restart has to replay, against work for each change. */
  readonly stateCommitMs: number;
  /** Between checkpoints, each a sync of the database; bounds the ledger's length. */
  readonly checkpointMs: number;
  /** Background work that failed is tried again after so long. */
  readonly retryMs: number;
}

export const defaultTimeouts: Timeouts = {
  sessionMs: 10_000,
  sessionMarginMs: 600,
  storeServeMs: 3_000,
  storeMarginMs: 300,
  storeHeartbeatMs: 500,
  storeStartupMs: 5_000,
  storeIdleMs: 2_000,
  probeMs: 500,
  probeIntervalMs: 100,
  setGroupsMs: 3_000,
  leaveGroupsMs: 500,
  rebuildAfterMs: 600_000,
  fenceMs: 5_000,
  deleteChunksMs: 30_000,
  equalizeMs: 600_000,
  startCatchUpMs: 3_000,
  catchUpMs: 600_000,
  catchUpRetryMs: 5_000,
  clientAnswerMs: 3_000,
  recallAgainMs: 1_000,
  leasesSoonMs: 50,
  waitWarningMs: 5_000,
  stateCommitMs: 200,
  checkpointMs: 10_000,
  retryMs: 500,
};
