/**
 * Who may lead, when the ledger has a second copy.
 *
 * The problem: the leader is lost, or only seems to be, and its copy is to take over. Two that lead at one time, or a copy
 * that leads without what was acknowledged, would be the end of the data. The obvious way (the copy takes over if it can't reach the
 * leader) does both: a cut network looks like a dead leader, and a leader that went on alone looks like one that didn't.
 *
 * 1. The *voters* are the servers with a copy of the ledger and, if there is one, a witness that keeps nothing but its ballot.
 *    Each ballot is durable: the highest term promised, to whom, and the latest *configuration* known.
 * 2. Who wants to lead claims a term above all that it knows, from more than half of the voters, itself among them. A voter that
 *    has promised a term never hears a lower one again. Any two majorities share a voter: so of two leaders one is refused.
 * 3. The configuration says who is *in step*: has every acknowledged entry. While both copies are, an append is acknowledged
 *    only when both have it on disk. Before the leader acknowledges anything alone, more than half of the voters have recorded that it
 *    is alone. So who claims a majority learns whether its own copy is behind, and then it doesn't lead.
 * 4. A leader serves (reads, too) only for a time after another voter has renewed its right to; in that time this voter promises
 *    nothing to anyone else. So a leader that was cut off has stopped before the next one begins.
 * 5. Terms of the two copies are never the same: one takes even ones, the other odd ones. So entries with the same index and term
 *    are the same, and so is all before them.
 *
 * With two voters alone the second one can't know whether the first has gone on without it. With the rule `required` it hasn't:
 * then the copy may lead on its own promise. With `preferred` it needs a person's word that the old leader is off. With a witness such a
 * word counts only for who accepts a loss, and the witness has no vote any more.
 *
 * Everything here is without I/O: ballots in, ballots out.
 */
import type { Configuration } from "../../wire/catalogue/ledger.ts";

export interface Ballot {
  /** Highest term promised; 0: none. */
  readonly term: number;
  /** Id of the server that it was promised to. */
  readonly leader: string;
  /** Undefined: this server has never heard of the ledger. */
  readonly configuration: Configuration | undefined;
}

export const emptyBallot: Ballot = { term: 0, leader: "", configuration: undefined };

/** A promise that another one makes, or refuses. */
export type Vote =
  | { readonly promised: true; readonly ballot: Ballot }
  | { readonly promised: false; readonly reason: "term" | "serving" };

/** @param servingElsewhere another leader has this voter's leave to serve, for some time yet */
export function vote(ballot: Ballot, claim: { term: number; leader: string }, servingElsewhere: boolean): Vote {
  if (servingElsewhere && claim.leader !== ballot.leader) return { promised: false, reason: "serving" };
  const isRepeated = claim.term === ballot.term && claim.leader === ballot.leader;
  if (claim.term <= ballot.term && !isRepeated) return { promised: false, reason: "term" };
  return { promised: true, ballot: { ...ballot, term: claim.term, leader: claim.leader } };
}

/** True if a voter obeys this leader. */
export function obeys(ballot: Ballot, term: number, leader: string): boolean {
  return term > ballot.term || (term === ballot.term && leader === ballot.leader);
}

/** The ballot with the leader's configuration; undefined: a higher term was promised. */
export function recorded(ballot: Ballot, leader: string, configuration: Configuration): Ballot | undefined {
  if (!obeys(ballot, configuration.term, leader)) return undefined;
  const latest = later(ballot.configuration, configuration);
  return { term: configuration.term, leader, configuration: latest };
}

/** The one that holds. */
export function later(one: Configuration | undefined, other: Configuration | undefined): Configuration | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  if (one.term !== other.term) return one.term > other.term ? one : other;
  return one.sequence >= other.sequence ? one : other;
}

/** Ids of all who vote. */
export function votersOf({ copies, witness }: Configuration): string[] {
  const voters = copies.map(({ serverId }) => serverId);
  return witness === undefined ? voters : [...voters, witness.serverId];
}

/** True if these are more than half of the voters. */
export function isMajority(configuration: Configuration, ids: ReadonlySet<string>): boolean {
  const voters = votersOf(configuration);
  return voters.filter((id) => ids.has(id)).length * 2 > voters.length;
}

/** The lowest term above `above` that only this copy takes. */
export function nextTerm(configuration: Configuration, serverId: string, above: number): number {
  const place = configuration.copies.findIndex((copy) => copy.serverId === serverId);
  if (place === -1) throw new RangeError(`server ${serverId} keeps no copy of the ledger`);
  const next = above + 1;
  return next % 2 === place ? next : next + 1;
}

export interface Candidacy {
  readonly serverId: string;
  /** The latest one among the ballots of all who promised. */
  readonly configuration: Configuration;
  /** Who promised, the candidate among them. */
  readonly promised: ReadonlySet<string>;
  /** A person wants it; else it is a start. */
  readonly promotion: boolean;
  readonly oldLeaderIsOff: boolean;
  readonly acceptLoss: boolean;
}

/**
 * Why a candidate may not lead. `voters`: too few have promised; `behind`: it lacks acknowledged entries; `forgotten`: it keeps no copy
 * any more.
 */
export type Verdict = "leads" | "voters" | "behind" | "forgotten";

export function judge(candidacy: Candidacy): Verdict {
  const { serverId, configuration, promised } = candidacy;
  if (!configuration.copies.some((copy) => copy.serverId === serverId)) return "forgotten";
  if (!isMajority(configuration, promised) && !mayLeadAlone(candidacy)) return "voters";
  const isInStep = configuration.inStep.includes(serverId);
  return isInStep || (candidacy.promotion && candidacy.acceptLoss) ? "leads" : "behind";
}

function mayLeadAlone(candidacy: Candidacy): boolean {
  const { serverId, configuration, promotion, oldLeaderIsOff, acceptLoss } = candidacy;
  const { witness, rule, inStep, copies } = configuration;
  if (!promotion) return false;
  if (witness !== undefined) return oldLeaderIsOff && acceptLoss;
  if (oldLeaderIsOff) return true;
  // The first in the list of those in step is the leader: it acknowledges nothing that the other one doesn't have.
  return rule === "required" && inStep.length === copies.length && inStep[0] !== serverId;
}

/** True if a leader needs others' leave to serve: unless nobody else could have been promised anything. */
export function needsLeave({ copies, inStep, witness }: Configuration): boolean {
  if (witness !== undefined) return true;
  return copies.length > 1 && inStep.length > 1;
}
