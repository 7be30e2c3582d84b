/**
 * Times of the ledger's copies. What a leader counts from the sending of a request, a voter counts from its receipt, with a
 * margin: so the leader has always stopped first, as long as clocks drift less than that.
 */
export interface CopyTimeouts {
  /** A leader serves so long after a renewal: the longest wait of a promotion. */
  readonly serveMs: number;
  readonly serveMarginMs: number;
  /** Several fit into serveMs, so that one that is late stops nothing. */
  readonly renewMs: number;
  /** A copy that is silent for so long is left behind. Less than serveMs: clients wait for it. */
  readonly silenceMs: number;
  readonly connectMs: number;
  /** Between tries to reach another server: at first, and at most. */
  readonly retryMs: number;
  readonly retryMsMax: number;
  /** A claim is answered at once, after one small write. */
  readonly claimMs: number;
  /** A leader that starts waits so long for its copy. */
  readonly startMs: number;
  /** A part of the state, written and at last synced. */
  readonly replaceMs: number;
}

export const defaultCopyTimeouts: CopyTimeouts = {
  serveMs: 4_000,
  serveMarginMs: 400,
  renewMs: 500,
  silenceMs: 2_000,
  connectMs: 2_000,
  retryMs: 100,
  retryMsMax: 2_000,
  claimMs: 2_000,
  startMs: 2_000,
  replaceMs: 30_000,
};

/** A copy that comes back within it is not missed: a connection that was reset is made anew in less. */
export const graceMs = 250;
/** Between looks of a leader at whether something can be recorded, or serves. */
export const pollMs = 50;
