/**
 * A server's vote on who leads the ledger: keeps its ballot, promises, and gives leave to serve. Every server has one, whatever
 * its roles: any may be asked to be the witness.
 *
 * Leave to serve is in memory alone. After a start nobody knows what leave was given before: so the leader that was promised
 * last is taken to have it for one whole term of it.
 */
import { BrineError } from "../../errors/brine-error.ts";
import type { Platform } from "../../platform/platform.ts";
import type { Keepers } from "../../wire/catalogue/handshake.ts";
import { type Configuration, claimTerm, recordConfiguration, renewServing } from "../../wire/catalogue/ledger.ts";
import { noKeepers } from "../../wire/handshake.ts";
import type { Service } from "../../wire/service.ts";
import { type Ballot, later, obeys, recorded, vote } from "./ballot.ts";
import { readBallot, writeBallot } from "./ballot-file.ts";
import { type CopyTimeouts, defaultCopyTimeouts } from "./copy-timeouts.ts";

export interface ClaimAnswer {
  promised: boolean;
  term: number;
  leader: string;
  waitMs: number;
  configuration: Configuration | undefined;
}

export class Voter {
  readonly serverId: string;
  readonly #platform: Platform;
  readonly #path: string;
  readonly #timeouts: CopyTimeouts;
  #ballot: Ballot;
  /** Another voter's, which may be later than the own. */
  #heard: Configuration | undefined;
  #servingUntilMs: number;
  /** This server leads: nobody else is promised anything. */
  leading = false;
  /** Writes go one after the other. */
  #writing: Promise<unknown> = Promise.resolve();

  private constructor(platform: Platform, path: string, serverId: string, ballot: Ballot, timeouts: CopyTimeouts) {
    this.#platform = platform;
    this.#path = path;
    this.serverId = serverId;
    this.#ballot = ballot;
    this.#timeouts = timeouts;
    this.#servingUntilMs = ballot.term === 0 ? 0 : this.#leaveEndsMs();
  }

  /** Errors: badChecksum, DiskError. */
  static async open(
    platform: Platform,
    options: { path: string; serverId: string; timeouts?: Partial<CopyTimeouts> | undefined },
  ): Promise<Voter> {
    const ballot = await readBallot(platform, options.path);
    const timeouts = { ...defaultCopyTimeouts, ...options.timeouts };
    return new Voter(platform, options.path, options.serverId, ballot, timeouts);
  }

  get ballot(): Ballot {
    return this.#ballot;
  }

  /** Who keeps the ledger, and as of which leader's term, as far as this server knows. */
  get keepers(): Keepers {
    const known = later(this.#ballot.configuration, this.#heard);
    return known === undefined
      ? noKeepers
      : { term: known.term, addresses: known.copies.map(({ address }) => address) };
  }

  /** What another voter has recorded; for those who ask this server alone. */
  hears(configuration: Configuration): void {
    this.#heard = later(this.#heard, configuration);
  }

  get timeouts(): CopyTimeouts {
    return this.#timeouts;
  }

  /** How long the leader that was promised last has leave to serve, as far as this voter knows. */
  get servingForMs(): number {
    return Math.max(0, this.#servingUntilMs - this.#platform.clock.nowMs());
  }

  register(service: Service): void {
    const roles = ["leader"] as const;
    service.handle(claimTerm, (body) => this.claim(body), { roles });
    service.handle(
      recordConfiguration,
      async ({ leader, configuration }) => {
        await this.record(leader, configuration);
        return {};
      },
      { roles },
    );
    service.handle(renewServing, ({ term, leader }) => this.renew(term, leader), { roles });
  }

  /** Errors: DiskError. */
  claim(claim: { term: number; leader: string }): Promise<ClaimAnswer> {
    return this.#inTurn(async () => {
      const isServing = this.servingForMs > 0 || (this.leading && claim.leader !== this.serverId);
      const outcome = vote(this.#ballot, claim, isServing);
      if (outcome.promised) await this.#write(outcome.ballot);
      const isWaiting = !outcome.promised && outcome.reason === "serving";
      const waitMs = isWaiting ? Math.ceil(Math.max(this.servingForMs, this.#timeouts.renewMs)) : 0;
      const { term, leader, configuration } = this.#ballot;
      return { promised: outcome.promised, term, leader, waitMs, configuration };
    });
  }

  /** Errors: notLeader, refused, DiskError. */
  record(leader: string, configuration: Configuration): Promise<void> {
    return this.#inTurn(async () => {
      const { witness, inStep, copies } = configuration;
      const known = this.#ballot.configuration;
      // An earlier one than is known changes nothing: its leader had no answer when it gave the later one.
      const isTaken = later(known, configuration) === configuration;
      const isNew = isTaken && witness?.serverId === this.serverId && known?.witness?.serverId !== this.serverId;
      if (isNew && inStep.length < copies.length) {
        // Somebody may still be asking the witness before: the copy has to know that it is another one now.
        throw new BrineError("refused", "a server becomes the witness while both copies of the ledger are in step");
      }
      const ballot = recorded(this.#ballot, leader, configuration);
      if (ballot === undefined) throw this.#outdated(configuration.term);
      await this.#write(ballot);
    });
  }

  /** Errors: notLeader. */
  renew(term: number, leader: string): { serveMs: number } {
    this.check(term, leader);
    this.#servingUntilMs = this.#leaveEndsMs();
    return { serveMs: this.#timeouts.serveMs };
  }

  /** The leader that is obeyed must have been promised its term. Error: notLeader. */
  check(term: number, leader: string): void {
    const isKnown = term === this.#ballot.term && obeys(this.#ballot, term, leader);
    if (!isKnown) throw this.#outdated(term);
  }

  #leaveEndsMs(): number {
    return this.#platform.clock.nowMs() + this.#timeouts.serveMs + this.#timeouts.serveMarginMs;
  }

  #outdated(term: number): BrineError {
    const { term: known, leader } = this.#ballot;
    return new BrineError(
      "notLeader",
      `term ${term} is not that of the leader: term ${known} was promised to ${leader}`,
      {
        advice: "the ledger's copy was promoted: this server's metadata becomes the copy",
      },
    );
  }

  async #write(ballot: Ballot): Promise<void> {
    await writeBallot(this.#platform, this.#path, ballot);
    this.#ballot = ballot;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#writing.then(work);
    this.#writing = result.catch(() => {});
    return result;
  }
}
