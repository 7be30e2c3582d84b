/**
 * Changes of who keeps the ledger and who is its witness, as the leader makes them. What is recorded where, and in which order,
 * is what keeps two majorities of different configurations from deciding apart:
 *
 * - A copy that is lost is *forgotten*: the witness records it before the leader does. The lost one can't win without the witness,
 *   and learns from it that it keeps no copy any more.
 * - A new witness: first the leader, then the copy, then the witness itself, which counts for nobody before it knows that it is one
 *   (candidate.ts), and records this first while both copies are in step (voter.ts). So whoever asks the old witness can't win any more
 *   when the new one can be asked.
 */
import { BrineError } from "../../errors/brine-error.ts";
import type { Address } from "../../platform/network.ts";
import type { Configuration, LedgerMember, LedgerRule } from "../../wire/catalogue/ledger.ts";
import { isMajority } from "./ballot.ts";
import { othersOf } from "./candidate.ts";
import type { MemberLink } from "./member-link.ts";
import type { Voter } from "./voter.ts";

export interface Membership {
  readonly voter: Voter;
  readonly own: LedgerMember;
  readonly links: ReadonlyMap<string, MemberLink>;
  readonly configuration: Configuration | undefined;
}

/** With a server taken in as the copy; undefined: it is already. Errors: exists, invalid (at another address than before). */
export function withCopy(
  { own, configuration: before }: Membership,
  { member, rule, term }: { member: LedgerMember; rule: LedgerRule; term: number },
): Configuration | undefined {
  const known = before?.copies.find(({ serverId }) => serverId !== own.serverId);
  if (known !== undefined && known.serverId !== member.serverId) {
    throw new BrineError("exists", `the ledger has its second copy at ${known.address} (server ${known.serverId})`, {
      advice: "join with --roles store; or, if that server is lost for good: brine ledger forget",
    });
  }
  if (known?.address === member.address) return undefined;
  if (known !== undefined) {
    throw new BrineError("invalid", `server ${member.serverId} had the address ${known.address}`, {
      advice: "start it at the address that it had",
    });
  }
  const sequence = (before?.term === term ? before.sequence : 0) + 1;
  return { term, sequence, copies: [own, member], inStep: [own.serverId], witness: undefined, rule };
}

/** Without the copy, recorded. Errors: invalid (no copy there), busy (it is alive), unreachable (the witness), notLeader. */
export async function forgetCopy(membership: Membership, address: Address): Promise<Configuration> {
  const { voter, own, links, configuration: before } = membership;
  const copy = before?.copies.find(({ serverId }) => serverId !== own.serverId);
  if (before === undefined || copy?.address !== address) {
    throw new BrineError("invalid", `the ledger has no copy at ${address}`, {
      advice: copy === undefined ? "it has no second copy" : `its copy is at ${copy.address}`,
    });
  }
  if (links.get(copy.serverId)?.connected === true) {
    throw new BrineError("busy", `the ledger's copy at ${address} is connected`, { advice: "stop its server first" });
  }
  const alone = [own.serverId];
  const next = { ...before, sequence: before.sequence + 1, copies: [own], inStep: alone, witness: undefined };
  if (before.witness !== undefined) await links.get(before.witness.serverId)!.record(next);
  await voter.record(own.serverId, next);
  return next;
}

/** With another witness, recorded by this server. Errors: invalid, refused (the copy isn't in step), notLeader. */
export async function nameWitness(membership: Membership, member: LedgerMember): Promise<Configuration> {
  const { voter, own, configuration: before } = membership;
  if (before === undefined || before.copies.length < 2) {
    throw new BrineError("invalid", "a ledger with one copy needs no witness");
  }
  if (before.copies.some(({ serverId }) => serverId === member.serverId)) {
    throw new BrineError("invalid", `${member.address} keeps a copy of the ledger: the witness is a third server`);
  }
  if (before.inStep.length < 2) {
    throw new BrineError("refused", "the ledger's copy is not in step", {
      advice: "bring the copy back first; if it is lost for good: brine ledger forget",
    });
  }
  if (before.witness?.serverId === member.serverId) return before;
  const next = { ...before, sequence: before.sequence + 1, witness: member };
  await voter.record(own.serverId, next);
  return next;
}

/** Recorded by more than half of the voters; without a witness, by this server. Errors: unreachable, notLeader. */
export async function recordByMost(membership: Membership, next: Configuration): Promise<Configuration> {
  const { voter, own, links, configuration: before } = membership;
  const configuration = { ...next, sequence: before!.sequence + 1 };
  const others = othersOf(configuration, own.serverId).flatMap(({ serverId }) => links.get(serverId) ?? []);
  const outcomes = await Promise.allSettled(others.map((link) => link.record(configuration)));
  const reached = others.filter((_, at) => outcomes[at]!.status === "fulfilled");
  const have = new Set([own.serverId, ...reached.map(({ member }) => member.serverId)]);
  if (configuration.witness !== undefined && !isMajority(configuration, have)) {
    throw new BrineError("unreachable", "neither the copy nor the witness of the ledger can be reached");
  }
  await voter.record(own.serverId, configuration);
  return configuration;
}

/** With the copy in step: recorded there first, because it loosens what the copy may do, and holds already. Errors: unreachable, notLeader. */
export async function recordInStep(membership: Membership): Promise<Configuration> {
  const { voter, own, links, configuration: before } = membership;
  const copy = before!.copies.find(({ serverId }) => serverId !== own.serverId)!;
  const configuration = { ...before!, sequence: before!.sequence + 1, inStep: [own.serverId, copy.serverId] };
  await links.get(copy.serverId)!.record(configuration);
  const witness = before!.witness && links.get(before!.witness.serverId);
  await witness?.record(configuration).catch(() => {});
  await voter.record(own.serverId, configuration);
  return configuration;
}
