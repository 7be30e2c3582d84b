/**
 * The leader's ledger: its own log, and the second copy on another server if there is one. ballot.ts has the rules; here they are
 * kept:
 *
 *     append ──► room in the own log ──┬──► own disk ──────────────┐
 *                                      └──► copy's disk (feed) ────┴──► acknowledged
 *
 * 1. Room is reserved first: an entry that the copy has and the own log has not would be two entries with one number.
 * 2. While the copy is *required*, an append waits for it. It becomes required at the moment when it has everything; only then
 *    is it recorded as in step.
 * 3. When it is lost, the leader waits a moment for it to come back. Then, by the rule `preferred`, more than half of the voters
 *    record that it is alone (without a witness: this server alone does), and it is not required any more.
 * 4. One that comes back with less than it had acknowledged is recorded as behind before it gets anything, by either rule.
 * 5. Who has promised a higher term to another one says so in any answer: from then on nothing is served or appended here.
 */
import { BrineError, hasCode } from "../../errors/brine-error.ts";
import { messageOf } from "../../errors/message.ts";
import { sleep } from "../../platform/clock.ts";
import type { Logger } from "../../platform/logger.ts";
import type { Address } from "../../platform/network.ts";
import type { Platform } from "../../platform/platform.ts";
import type { Configuration, LedgerMember, LedgerRule } from "../../wire/catalogue/ledger.ts";
import type { Peer } from "../../wire/peer.ts";
import type { FileLedger } from "../file/file-ledger.ts";
import type { Ledger, LedgerEntry } from "../ledger.ts";
import { needsLeave } from "./ballot.ts";
import { othersOf } from "./candidate.ts";
import { CopyFeed, removableBelow, type StateSource } from "./copy-feed.ts";
import { graceMs, pollMs } from "./copy-timeouts.ts";
import { MemberLink } from "./member-link.ts";
import { forgetCopy, type Membership, nameWitness, recordByMost, recordInStep, withCopy } from "./membership.ts";
import type { Voter } from "./voter.ts";

export interface CopiedLedgerOptions {
  readonly platform: Platform;
  readonly file: FileLedger;
  readonly voter: Voter;
  readonly clusterId: string;
  readonly own: LedgerMember;
  /** Undefined: this server alone has the ledger. */
  readonly configuration: Configuration | undefined;
  /** Another one leads, or this server's ballot can't be written. */
  readonly onLost: (error: BrineError) => void;
}

export class CopiedLedger implements Ledger {
  readonly #options: CopiedLedgerOptions;
  readonly #log: Logger;
  #configuration: Configuration | undefined;
  /** A copy has joined, or was forgotten. */
  onCopies: () => void = () => {};
  readonly #links = new Map<string, MemberLink>();
  #feed: CopyFeed | undefined;
  #source: StateSource | undefined;
  #current: LedgerEntry | undefined;
  /** Appends wait for the copy. */
  #required: boolean;
  #waiting: { index: number; resolve: () => void; reject: (error: unknown) => void } | undefined;
  #lost: BrineError | undefined;
  #closed = false;
  /** Since when the copy is required and has no feed that follows. */
  #awaySinceMs: number | undefined;
  /** Changes of the configuration go one after the other. */
  #changing: Promise<unknown> = Promise.resolve();
  #isSettling = false;

  constructor(options: CopiedLedgerOptions) {
    this.#options = options;
    this.#log = options.platform.logger.for("ledger");
    this.#configuration = options.configuration;
    this.#required = (options.configuration?.inStep.length ?? 1) > 1;
    options.voter.leading = true;
  }

  get term(): number {
    return this.#options.file.term;
  }

  get lastIndex(): number {
    return this.#options.file.lastIndex;
  }

  get serving(): boolean {
    if (this.#lost !== undefined || this.#closed) return false;
    if (this.#configuration === undefined || !needsLeave(this.#configuration)) return true;
    return [...this.#links.values()].some(({ leaveUntilMs }) => leaveUntilMs > this.#options.platform.clock.nowMs());
  }

  get waitsFor(): string {
    if (this.#waiting === undefined || this.#copy === undefined) return this.#options.file.waitsFor;
    const state = this.#feed?.state ?? "away";
    return `the ledger's copy at ${this.#copy.address}${state === "following" ? "" : ` (${state})`}`;
  }

  get configuration(): Configuration | undefined {
    return this.#configuration;
  }

  /** Index of the last entry on the copy's disk, while it is connected. */
  get copyIndex(): number | undefined {
    return this.#feed?.acked;
  }

  get copyState(): "none" | "away" | "attaching" | "replacing" | "following" | "in step" {
    if ((this.#configuration?.copies.length ?? 1) < 2) return "none";
    if (this.#feed === undefined) return "away";
    return this.#required && this.#configuration!.inStep.length > 1 ? "in step" : this.#feed.state;
  }

  isConnected(serverId: string): boolean {
    return this.#links.get(serverId)?.connected ?? false;
  }

  /** From here on the copy can get the state. */
  set source(source: StateSource) {
    this.#source = source;
    this.#feed?.poke();
  }

  /**
   * Connects to the others. Resolves when this server may serve: with its copy in step, or alone by the rules.
   * Errors: notLeader, notServing (closed meanwhile), DiskError.
   */
  async start(): Promise<void> {
    const configuration = this.#configuration;
    if (configuration === undefined) return;
    const { platform, own, voter } = this.#options;
    await voter.record(own.serverId, configuration);
    for (const member of othersOf(configuration, own.serverId)) this.#linkTo(member);
    this.#awaySinceMs = platform.clock.nowMs() + voter.timeouts.startMs - graceMs;
    void this.#settle();
    let isRecorded = this.#required;
    while (!(isRecorded && this.serving && (!this.#required || this.#isCaughtUp()))) {
      this.#check();
      if (!isRecorded) {
        isRecorded = await this.#record(configuration).then(
          () => true,
          () => false,
        );
      }
      await sleep(platform.clock, pollMs);
    }
  }

  async append(batch: Uint8Array): Promise<number> {
    const { file } = this.#options;
    this.#check();
    await file.reserve(batch.byteLength);
    this.#check();
    const entry = { index: file.lastIndex + 1, term: file.term, batch };
    this.#current = entry;
    this.#feed?.poke();
    try {
      await file.append(batch);
    } finally {
      this.#current = undefined;
    }
    this.#feed?.poke();
    this.#check();
    if (this.#required && (this.#feed?.acked ?? 0) < entry.index)
      await new Promise<void>((resolve, reject) => (this.#waiting = { index: entry.index, resolve, reject }));
    return entry.index;
  }

  read(from: number): AsyncIterable<LedgerEntry> {
    return this.#options.file.read(from);
  }

  async truncate(index: number): Promise<void> {
    await this.#options.file.truncate(removableBelow(index, this.#feed, this.#required));
  }

  check(): Promise<void> {
    return this.#options.file.check();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#options.voter.leading = false;
    for (const link of this.#links.values()) link.stop();
    this.#waiting?.reject(new BrineError("notServing", "the metadata server stops"));
    await this.#changing;
    await this.#options.file.close();
  }

  /** Takes a server in as the copy. Errors: exists, invalid, notLeader. */
  async join(member: LedgerMember, rule: LedgerRule): Promise<void> {
    const { own, voter } = this.#options;
    const configuration = withCopy(this.#membership, { member, rule, term: this.term });
    if (configuration === undefined) return;
    this.#log.info("the ledger gets a second copy", { address: member.address });
    await voter.record(own.serverId, configuration);
    this.#configuration = configuration;
    this.onCopies();
    this.#linkTo(member);
    void this.#settle();
  }

  /** The copy at this address is lost for good: this server goes on alone, and another one can join. Errors: those of forgetCopy. */
  forget(address: Address): Promise<void> {
    return this.#change(async () => {
      this.#configuration = await forgetCopy(this.#membership, address);
      this.onCopies();
      for (const link of this.#links.values()) link.stop();
      this.#links.clear();
      this.#feed = undefined;
      this.#required = false;
      this.#awaySinceMs = undefined;
      this.#log.warn("the ledger's copy is forgotten", { address });
      this.#wakeIfDone();
    });
  }

  /** Makes a third server the witness, in the place of the one that there is. Errors: those of nameWitness, unreachable. */
  appointWitness(member: LedgerMember): Promise<void> {
    return this.#change(async () => {
      const before = this.#configuration?.witness;
      if (before !== undefined && before.serverId === member.serverId && this.#links.has(before.serverId)) return;
      const configuration = await nameWitness(this.#membership, member);
      this.#configuration = configuration;
      if (before !== undefined) this.#links.get(before.serverId)?.stop();
      if (before !== undefined) this.#links.delete(before.serverId);
      await this.#links.get(this.#copy!.serverId)!.record(configuration);
      this.#linkTo(member);
      this.#log.info("the ledger has a witness", { address: member.address });
    });
  }

  get #copy(): LedgerMember | undefined {
    return this.#configuration?.copies.find(({ serverId }) => serverId !== this.#options.own.serverId);
  }

  get #membership(): Membership {
    const { own, voter } = this.#options;
    return { own, voter, links: this.#links, configuration: this.#configuration };
  }

  // --- the copy ---

  #linkTo(member: LedgerMember): void {
    const { platform, clusterId, own, voter } = this.#options;
    const isCopy = this.#configuration!.copies.some(({ serverId }) => serverId === member.serverId);
    const link = new MemberLink({
      platform,
      log: this.#log,
      member,
      clusterId,
      serverId: own.serverId,
      timeouts: voter.timeouts,
      configuration: () => this.#configuration!,
      onOutdated: (error) => this.#lose(error),
      ...(isCopy && { onPeer: (peer: Peer) => void this.#feedOn(peer) }),
    });
    this.#links.set(member.serverId, link);
    link.start();
  }

  async #feedOn(peer: Peer): Promise<void> {
    const { file, voter } = this.#options;
    const feed = new CopyFeed({
      peer,
      file,
      term: this.term,
      timeouts: voter.timeouts,
      source: () => this.#source,
      onAttached: (lastIndex) => this.#attached(lastIndex),
      current: () => this.#current,
      onProgress: () => this.#progress(feed),
    });
    this.#feed = feed;
    try {
      await feed.run();
    } catch (error) {
      if (this.#closed) return;
      if (hasCode(error, "notLeader")) this.#lose(error);
      this.#log.warn("the ledger's copy is not fed any more", { reason: messageOf(error) });
    } finally {
      if (this.#feed === feed) this.#feed = undefined;
      peer.close("the copy is not fed any more");
      // Who waits for it may not have to.
      void this.#settle();
    }
  }

  /** Of a copy that counts as in step: it may have lost what it had acknowledged. Then it must not be promoted before it has it again. */
  async #attached(lastIndex: number | undefined): Promise<void> {
    // An entry may have been on its way.
    if (!this.#required || (lastIndex ?? -1) >= this.#options.file.lastIndex - 1) return;
    await this.#record({ ...this.#configuration!, inStep: [this.#options.own.serverId] });
    // Without a witness its own promise is enough: it is the one that has to know.
    await this.#links.get(this.#copy!.serverId)!.record(this.#configuration!);
    this.#goesOnAlone("the ledger's copy has lost entries that it had: it is brought up to date as a new one");
  }

  #progress(feed: CopyFeed): void {
    if (this.#feed !== feed || this.#closed) return;
    // In this very moment: an append that goes on after it waits for the copy.
    if (!this.#required && this.#isCaughtUp()) this.#required = true;
    this.#wakeIfDone();
    void this.#settle();
  }

  #isCaughtUp(): boolean {
    return this.#feed?.state === "following" && this.#feed.acked >= this.#options.file.lastIndex;
  }

  #wakeIfDone(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    if (this.#required && !((this.#feed?.acked ?? 0) >= waiting.index)) return;
    this.#waiting = undefined;
    waiting.resolve();
  }

  // --- the configuration ---

  /** Brings what is recorded in line with what is; one at a time, until nothing is left to do. Never rejects. */
  async #settle(): Promise<void> {
    if (this.#isSettling) return;
    this.#isSettling = true;
    const { platform, voter } = this.#options;
    try {
      while (!this.#closed && this.#lost === undefined) {
        const isDone = await this.#settleOnce().catch((error: unknown) => {
          this.#log.debug("not recorded yet", { reason: messageOf(error) });
          return false;
        });
        if (isDone) break;
        await sleep(platform.clock, Math.min(pollMs, voter.timeouts.retryMs));
      }
    } finally {
      this.#isSettling = false;
    }
  }

  /** True if nothing is to be done or awaited. */
  async #settleOnce(): Promise<boolean> {
    const { platform, own } = this.#options;
    const configuration = this.#configuration!;
    if (!this.#required) return true;
    if (this.#feed?.state === "following") {
      this.#awaySinceMs = undefined;
      if (configuration.inStep.length < 2) await this.#recordInStep();
      return this.#feed?.state === "following";
    }
    const nowMs = platform.clock.nowMs();
    this.#awaySinceMs ??= nowMs;
    if (configuration.rule === "required" || nowMs < this.#awaySinceMs + graceMs) return false;
    await this.#record({ ...configuration, inStep: [own.serverId] });
    this.#goesOnAlone("the ledger has lost its copy, and goes on alone");
    return true;
  }

  #goesOnAlone(message: string): void {
    this.#awaySinceMs = undefined;
    this.#required = false;
    this.#log.warn(message);
    this.#wakeIfDone();
  }

  #recordInStep(): Promise<void> {
    return this.#change(async () => {
      this.#configuration = await recordInStep(this.#membership);
      this.#log.info("the ledger's copy is in step", { address: this.#copy!.address });
    });
  }

  #record(next: Configuration): Promise<void> {
    return this.#change(async () => {
      this.#configuration = await recordByMost(this.#membership, next);
    });
  }

  #change(work: () => Promise<void>): Promise<void> {
    const result = this.#changing.then(async () => {
      this.#check();
      await work();
    });
    this.#changing = result.catch((error: unknown) => {
      if (hasCode(error, "notLeader")) this.#lose(error);
    });
    return result;
  }

  #check(): void {
    if (this.#lost !== undefined) throw this.#lost;
    if (this.#closed) throw new BrineError("notServing", "the metadata server stops");
  }

  #lose(error: BrineError): void {
    if (this.#lost !== undefined || this.#closed) return;
    this.#lost = error;
    this.#log.error("another server leads", { reason: error.message });
    this.#waiting?.reject(error);
    this.#options.onLost(error);
  }
}
