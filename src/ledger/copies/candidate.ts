/**
 * Standing for leader: asks the other voters what they know, claims a term from them and then from this server itself, and
 * judges (ballot.ts). It ends with the right to lead, or with the knowledge that another one leads; meanwhile it tries again.
 *
 * The others are asked first with a claim of term 0, which nobody promises: a candidate that can't win disturbs no leader.
 */
import { BrineError, hasCode } from "../../errors/brine-error.ts";
import { sleep } from "../../platform/clock.ts";
import type { Platform } from "../../platform/platform.ts";
import { type Configuration, claimTerm, type LedgerMember } from "../../wire/catalogue/ledger.ts";
import { connectPeer } from "../../wire/connect.ts";
import type { Peer } from "../../wire/peer.ts";
import { Service } from "../../wire/service.ts";
import { isMajority, judge, later, nextTerm } from "./ballot.ts";
import type { ClaimAnswer, Voter } from "./voter.ts";

export interface StandOptions {
  readonly clusterId: string;
  readonly promotion: boolean;
  readonly oldLeaderIsOff: boolean;
  readonly acceptLoss: boolean;
  /** Tries no longer than so; a start tries until `stopped`. */
  readonly patienceMs: number;
  readonly stopped: () => boolean;
  /** Each time before a term is claimed; what it throws ends the candidacy. `known`: the latest configuration. Default: nothing. */
  readonly beforeClaim?: (known: Configuration) => Promise<void>;
}

/**
 * The term to lead under, with the latest configuration, and whether entries that were acknowledged may be missing, as far as voters
 * know; that another server leads; or that this one keeps no copy any more.
 */
export type Standing =
  | { readonly kind: "leads"; readonly term: number; readonly configuration: Configuration; readonly mayLack: boolean }
  | { readonly kind: "copy"; readonly configuration: Configuration }
  | { readonly kind: "forgotten" };

/** Errors: notServing (stopped), busy (promotion: the leader still serves, or too few voters can be reached), invalid (behind), and those of `beforeClaim`. */
export async function standForLeader(platform: Platform, voter: Voter, options: StandOptions): Promise<Standing> {
  const log = platform.logger.for("ledger");
  const deadlineMs = platform.clock.nowMs() + options.patienceMs;
  let reason = "";
  for (;;) {
    if (options.stopped()) throw new BrineError("notServing", "the metadata server stops");
    const outcome = await standOnce(platform, voter, options);
    if (outcome.kind !== "again") return outcome;
    if (outcome.reason !== reason) log.warn("not leading yet", { reason: outcome.reason });
    ({ reason } = outcome);
    if (platform.clock.nowMs() >= deadlineMs)
      throw new BrineError("busy", reason, { advice: adviceFor(reason, options) });
    await sleep(platform.clock, Math.min(outcome.waitMs, voter.timeouts.renewMs));
  }
}

const stillServing = "the old leader may still be serving";

function adviceFor(reason: string, { oldLeaderIsOff }: StandOptions): string {
  if (oldLeaderIsOff) return "stop the old leader's server first";
  if (reason === stillServing) return "if it does (ask it: brine status), stop its server first to hand over";
  return "if the old leader's machine is off and stays off, say --old-leader-is-off";
}

type Again = { readonly kind: "again"; readonly reason: string; readonly waitMs: number };

async function standOnce(platform: Platform, voter: Voter, options: StandOptions): Promise<Standing | Again> {
  const { serverId, timeouts } = voter;
  const own = voter.ballot.configuration!;
  const others = othersOf(own, serverId);
  const asked = await claimAll(platform, voter, options, others, 0);
  const known = [...asked.values()].reduce((latest, { configuration }) => later(latest, configuration)!, own);
  voter.hears(known);
  if (!known.copies.some((copy) => copy.serverId === serverId)) return { kind: "forgotten" };
  const isLedByOther = known.inStep[0] !== serverId;
  // A start only goes on with what this server led last; anything else is a person's decision.
  if (!options.promotion && isLedByOther) return { kind: "copy", configuration: known };
  const candidacy = { serverId, configuration: known, ...options };
  const couldPromise = new Set([serverId, ...countable(known, asked)]);
  const waitMs = Math.max(0, ...[...asked.values()].map((answer) => answer.waitMs), ownWait(voter, options));
  const verdict = judge({ ...candidacy, promised: couldPromise });
  if (verdict === "behind") throw behind(known);
  if (verdict === "voters") {
    const silent = others.filter((one) => !asked.has(one.serverId)).map(({ address }) => address);
    const reason = `of the servers that vote on the leader too few answer (silent: ${silent.join(", ") || "none"})`;
    return { kind: "again", reason, waitMs: timeouts.retryMs * 5 };
  }
  if (waitMs > 0) return { kind: "again", reason: stillServing, waitMs };
  await options.beforeClaim?.(known);
  const terms = [...asked.values()].map(({ term }) => term);
  const term = nextTerm(known, serverId, Math.max(voter.ballot.term, known.term, ...terms));
  const claims = await claimAll(platform, voter, options, others, term);
  const latest = [...claims.values()].reduce((best, { configuration }) => later(best, configuration)!, known);
  const promised = new Set([serverId]);
  for (const id of countable(latest, claims)) if (claims.get(id)!.promised) promised.add(id);
  if (judge({ ...candidacy, configuration: latest, promised }) !== "leads") {
    return { kind: "again", reason: "another voter refused its promise", waitMs: timeouts.retryMs };
  }
  const ownAnswer = await voter.claim({ term, leader: serverId });
  if (!ownAnswer.promised) return { kind: "again", reason: "another leader was promised", waitMs: timeouts.retryMs };
  // Led against the witness: it doesn't vote any more.
  const isElected = isMajority(latest, promised);
  const configuration = { ...latest, witness: isElected ? latest.witness : undefined };
  return { kind: "leads", term, configuration, mayLack: !isElected || !latest.inStep.includes(serverId) };
}

/** Ids of those whose promise counts: a witness's does once it knows that it is one. */
function countable({ witness }: Configuration, answers: ReadonlyMap<string, ClaimAnswer>): string[] {
  const knows = (answer: ClaimAnswer) => answer.configuration?.witness?.serverId === witness?.serverId;
  return [...answers].filter(([id, answer]) => id !== witness?.serverId || knows(answer)).map(([id]) => id);
}

/** The leave that this server itself gave, unless it was to itself. */
function ownWait(voter: Voter, { oldLeaderIsOff }: StandOptions): number {
  return oldLeaderIsOff || voter.ballot.leader === voter.serverId ? 0 : voter.servingForMs;
}

/** @param reason why it is known. Default: the leader has recorded it */
export function behind({ inStep, copies }: Configuration, reason?: string): BrineError {
  const holder = copies.find(({ serverId }) => serverId === inStep[0])?.address ?? "the other server";
  const why = reason ?? `${holder} has gone on without it`;
  return new BrineError("invalid", `this copy of the ledger is behind: ${why}`, {
    advice: `start the server at ${holder} again; if it is lost for good, --accept-loss goes on with what is here`,
  });
}

export function othersOf({ copies, witness }: Configuration, serverId: string): LedgerMember[] {
  return [...copies, ...(witness === undefined ? [] : [witness])].filter((one) => one.serverId !== serverId);
}

/** The answers of those who answered in time. */
async function claimAll(
  platform: Platform,
  voter: Voter,
  { clusterId }: StandOptions,
  others: readonly LedgerMember[],
  term: number,
): Promise<Map<string, ClaimAnswer>> {
  const answers = new Map<string, ClaimAnswer>();
  const { serverId, timeouts } = voter;
  await Promise.all(
    others.map(async (other) => {
      let peer: Peer | undefined;
      try {
        peer = await dial(platform, other, { clusterId, serverId, timeoutMs: timeouts.connectMs });
        const { body } = await peer.request(claimTerm, { term, leader: serverId }, { timeoutMs: timeouts.claimMs });
        answers.set(other.serverId, body);
      } catch (error) {
        if (!hasCode(error, "unreachable", "timedOut", "closed", "refused", "internal", "diskFailed")) throw error;
      } finally {
        peer?.close("asked");
      }
    }),
  );
  return answers;
}

/** A connection as leader to another server of the ledger. Errors: those of connectPeer, unreachable (another server is there). */
export async function dial(
  platform: Platform,
  member: LedgerMember,
  { clusterId, serverId, timeoutMs }: { clusterId: string; serverId: string; timeoutMs: number },
): Promise<Peer> {
  const identity = { role: "leader" as const, clusterId, peerId: serverId, description: "the ledger's leader" };
  const peer = await connectPeer(platform, member.address, identity, new Service(), timeoutMs);
  if (peer.serverId === member.serverId) return peer;
  peer.close("another server");
  throw new BrineError("unreachable", `${member.address} is another server now (${peer.serverId})`);
}
