/** What bounds the changes that a mount has answered and not made durable, and what it keeps in memory besides. */

export interface WriteBackLimits {
  /** Bytes that are written and not on the stores yet; at the limit writers wait. */
  readonly dirtyBytesMax: number;
  /** Changes of the namespace that are not committed yet; at the limit whoever makes more waits. */
  readonly dirtyOperationsMax: number;
  /** A change is sent at the latest when it is so old. */
  readonly dirtyAgeMs: number;
  /** Bytes of files that are kept to be read again. */
  readonly cacheBytesMax: number;
}

export const writeBackLimits: WriteBackLimits = {
  // A quarter of a second of two 10 Gbit/s links to the stores: they never idle for want of data.
  dirtyBytesMax: 128 * 1024 * 1024,
  // As many as the leader works on at a time for one client: more would only make whoever waits for the last wait longer.
  dirtyOperationsMax: 8_192,
  // Long enough that what belongs together goes together, short enough that nobody waits for it by hand.
  dirtyAgeMs: 200,
  // A source tree of some thousand files fits; far less than what else a machine that mounts has.
  cacheBytesMax: 128 * 1024 * 1024,
};

/** No mount may have more: the leader counts on it, see metadata/lease-limits.ts. */
export const dirtyOperationsLimit = 262_144;

/** Data that nobody asks for goes out after this many times the age of a change: the journal asks for it earlier as a rule. */
export const dataAgeFactor = 5;
