/**
 * The metadata role of a server: leads, or keeps the second copy of the ledger, or doesn't know yet which of both.
 *
 *     alone ──(another server joins)──► leading with a copy
 *                                          │ start            ▲ promoted
 *                                          ▼                  │
 *                                      candidate ──► copy of the leader
 *
 * A server that has never had a copy leads at once. Any other stands for leader when it starts, if it was the last to lead as far
 * as it knows, and is the copy otherwise. Who loses the leadership closes everything and starts over: it becomes the copy.
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { adoptTail } from "../ledger/copies/adopt.ts";
import { behind, standForLeader } from "../ledger/copies/candidate.ts";
import { CopiedLedger } from "../ledger/copies/copied-ledger.ts";
import type { Voter } from "../ledger/copies/voter.ts";
import { FileLedger } from "../ledger/file/file-ledger.ts";
import { sleep } from "../platform/clock.ts";
import { DiskError } from "../platform/disk.ts";
import type { Logger } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import type { Configuration, LedgerRule } from "../wire/catalogue/ledger.ts";
import type { Service } from "../wire/service.ts";
import { copiesReport } from "./copies-report.ts";
import { entriesElsewhere } from "./entries-elsewhere.ts";
import { beginHistory, lacksNoMore } from "./history.ts";
import { joinAsCopy } from "./join-ledger.ts";
import { type CopyFacts, copyFacts, LedgerCopy } from "./ledger-copy.ts";
import { MetadataServer, type MetadataServerOptions } from "./metadata-server.ts";
import { registerRole } from "./role-methods.ts";
import { defaultTimeouts } from "./timeouts.ts";

export interface MetadataRoleOptions extends Omit<MetadataServerOptions, "ledger" | "copies" | "onEnd"> {
  readonly voter: Voter;
  /** Of the cluster whose ledger it is to keep a copy of; empty for the cluster's first server. */
  readonly leaders: readonly Address[];
  readonly rule: LedgerRule;
  /** It was there before: without its directory it neither leads nor is a copy that counts. Default: no. */
  readonly mustExist?: boolean;
  /** The role has ended by itself: the process should, too, and be started again. */
  readonly onEnd: (error: BrineError) => void;
}

/** Waits of a promotion: for the old leader's leave to serve, and some tries. */
const promotionPatienceMs = 15_000;

type State =
  | { readonly kind: "starting" }
  | { readonly kind: "leading"; readonly server: MetadataServer; readonly ledger: CopiedLedger }
  | { readonly kind: "copy"; readonly copy: LedgerCopy }
  | { readonly kind: "ended"; readonly reason: BrineError };

export class MetadataRole {
  readonly #platform: Platform;
  readonly #options: MetadataRoleOptions;
  readonly #log: Logger;
  #state: State = { kind: "starting" };
  #working: Promise<void> = Promise.resolve();
  /** Waits for others before it leads. */
  #opening: CopiedLedger | undefined;
  #isPromoting = false;
  #stopped = false;

  private constructor(platform: Platform, options: MetadataRoleOptions) {
    this.#platform = platform;
    this.#options = options;
    this.#log = platform.logger.for("ledger");
  }

  /**
   * A server without a second copy serves when this resolves; any other finds out in the background what it is.
   * Errors: those of MetadataServer.start and LedgerCopy.open.
   */
  static async start(platform: Platform, options: MetadataRoleOptions): Promise<MetadataRole> {
    const role = new MetadataRole(platform, options);
    const { configuration } = options.voter.ballot;
    if (options.mustExist === true && !(configuration === undefined && options.leaders.length > 0)) {
      await checkThere(platform, options.directory);
    }
    if (configuration === undefined && options.leaders.length === 0) {
      await role.#lead(await role.#openFile(), undefined);
    } else if (configuration === undefined) {
      await role.#becomeCopy();
      role.#inBackground(() => joinAsCopy(platform, { ...options, log: role.#log, isOver: () => role.#stopped }));
    } else role.#inBackground(() => role.#stand());
    return role;
  }

  /** The term under which it leads; 0: it doesn't. */
  get term(): number {
    return this.#state.kind === "leading" ? this.#state.server.term : 0;
  }

  get origin() {
    return this.server?.origin;
  }

  /** The metadata server, while it leads. */
  get server(): MetadataServer | undefined {
    return this.#state.kind === "leading" ? this.#state.server : undefined;
  }

  register(service: Service): void {
    registerRole(service, {
      leading: () => this.#leading(),
      copy: () => this.#copy(),
      promote: (how) => this.#promote(how),
    });
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#state.kind === "leading") await this.#state.server.stop();
    await this.#working;
    if (this.#state.kind === "leading") await this.#state.server.stop();
    if (this.#state.kind === "copy") await this.#state.copy.close();
  }

  // --- what it is ---

  #leading(): { server: MetadataServer; ledger: CopiedLedger } {
    if (this.#state.kind === "leading") return this.#state;
    throw this.#notLeader();
  }

  #copy(): LedgerCopy {
    if (this.#state.kind === "copy") return this.#state.copy;
    throw new BrineError("notServing", "this server keeps no copy of the ledger now");
  }

  #notLeader(): BrineError {
    if (this.#state.kind === "ended") return this.#state.reason;
    if (this.#state.kind !== "copy") {
      return new BrineError(
        "notServing",
        "the metadata server is starting, or waits for its copy or witness to answer",
      );
    }
    const { address, voter } = this.#options;
    const { configuration } = voter.ballot;
    const leader = configuration?.copies.find(({ serverId }) => serverId === configuration.inStep[0])?.address;
    return new BrineError("notLeader", `${address} keeps the second copy of the ledger; ${leader ?? "another"} leads`, {
      advice: `ask that one; if it is lost: brine ledger promote ${address}`,
    });
  }

  #inBackground(work: () => Promise<void>): void {
    this.#working = work().catch((error: unknown) => {
      if (!this.#stopped) this.#end(error);
    });
  }

  /** It doesn't lead any more, or never did. */
  #fails(error: BrineError): void {
    const { server } = this;
    if (!hasCode(error, "notLeader") || server === undefined || this.#stopped) {
      this.#end(error);
      return;
    }
    this.#state = { kind: "starting" };
    this.#inBackground(async () => {
      await server.stop();
      await this.#stand();
    });
  }

  #end(error: unknown): void {
    if (this.#state.kind === "ended") return;
    const cause = error instanceof BrineError ? error : reasonOf(error);
    this.#state = { kind: "ended", reason: new BrineError("notServing", cause.message) };
    this.#options.onEnd(cause);
  }

  /** The process goes on: it may have a store. */
  #isForgotten(): void {
    const reason = this.#forgotten();
    this.#state = { kind: "ended", reason };
    this.#log.error("this server's metadata is of no use any more", { reason: reason.message });
  }

  #forgotten(): BrineError {
    const keepers = this.#options.voter.keepers.addresses.join(" and ");
    const message = `the cluster has forgotten this server's copy of the ledger; the metadata is at ${keepers}`;
    return new BrineError("notLeader", message, {
      advice: "to make it the copy again, remove its ballot and its folder metadata, and start it with --join",
    });
  }

  #openFile(): Promise<FileLedger> {
    return FileLedger.open(this.#platform, `${this.#options.directory}/ledger`);
  }

  async #becomeCopy(): Promise<void> {
    const { directory, voter, timeouts } = this.#options;
    const { checkpointMs } = { ...defaultTimeouts, ...timeouts };
    // A promotion that was broken off, and another server leads: whatever was missing here comes from there.
    await lacksNoMore(this.#platform, directory);
    const copy = await LedgerCopy.open(this.#platform, { directory, voter, checkpointMs });
    this.#state = { kind: "copy", copy };
    this.#log.info("this server keeps the ledger's second copy", { lastIndex: copy.lastIndex });
  }

  // --- leading ---

  /** Ends as leader or as copy, unless a person's promotion takes its place. */
  async #stand(): Promise<void> {
    const { clusterId, voter } = this.#options;
    const began = this.#state;
    const isOver = () => this.#stopped || this.#state !== began;
    try {
      const standing = await standForLeader(this.#platform, voter, {
        clusterId,
        promotion: false,
        oldLeaderIsOff: false,
        acceptLoss: false,
        patienceMs: Number.POSITIVE_INFINITY,
        stopped: isOver,
      });
      if (isOver()) return;
      if (standing.kind === "forgotten") this.#isForgotten();
      else if (standing.kind === "copy") await this.#becomeCopy();
      else await this.#leadAfter(standing.term, standing.configuration, isOver);
    } catch (error) {
      if (!isOver()) throw error;
    }
  }

  /** Goes on with the copy if it is in step and answers, else alone, by the rule. */
  async #leadAfter(term: number, known: Configuration, isOver: () => boolean): Promise<void> {
    const { voter, clusterId, serverId } = this.#options;
    const copy = known.copies.find((one) => one.serverId !== serverId)!;
    const inStep = [serverId, ...known.inStep.filter((id) => id !== serverId)];
    let configuration = { ...known, term, sequence: 1, inStep };
    const file = await this.#openFile();
    const untilMs = this.#platform.clock.nowMs() + voter.timeouts.startMs;
    while (configuration.inStep.length > 1) {
      try {
        await adoptTail(this.#platform, { voter, file, clusterId, copy, configuration });
        break;
      } catch (error) {
        if (hasCode(error, "badChecksum", "notLeader", "diskFailed", "noSpace") || isOver()) {
          await file.close();
          throw error;
        }
        this.#log.warn("the ledger's copy does not answer", {
          address: copy.address,
          reason: (error as Error).message,
        });
      }
      if (this.#platform.clock.nowMs() < untilMs || configuration.rule === "required") {
        await sleep(this.#platform.clock, voter.timeouts.retryMs);
      } else configuration = { ...configuration, inStep: [serverId] };
    }
    await this.#lead(file, configuration);
  }

  async #lead(file: FileLedger, configuration: Configuration | undefined): Promise<void> {
    const { voter, clusterId, serverId, address } = this.#options;
    let server: MetadataServer | undefined;
    const ledger = new CopiedLedger({
      platform: this.#platform,
      file,
      voter,
      clusterId,
      own: { serverId, address },
      configuration,
      onLost: (error) => (server === undefined ? this.#end(error) : server.lose(error)),
    });
    try {
      await file.begin(configuration?.term ?? Math.max(file.term, voter.ballot.term) + 1);
      this.#opening = ledger;
      await ledger.start();
      this.#opening = undefined;
      server = await MetadataServer.start(this.#platform, {
        ...this.#options,
        ledger,
        copies: copiesReport(ledger, serverId),
        onEnd: (error) => this.#fails(error),
      });
    } catch (error) {
      this.#opening = undefined;
      await ledger.close();
      throw error;
    }
    ledger.source = server.backups;
    if (this.#state.kind === "ended") throw this.#state.reason;
    this.#state = { kind: "leading", server, ledger };
    this.#log.info("leading", { term: ledger.term, lastIndex: ledger.lastIndex });
  }

  async #promote(how: { oldLeaderIsOff: boolean; acceptLoss: boolean }): Promise<{ term: number }> {
    if (this.#isPromoting) throw new BrineError("busy", "this server is being promoted already");
    this.#isPromoting = true;
    try {
      if (this.#state.kind === "starting") await this.#breakOff();
      await this.#takeOver(how);
      await this.#working;
      return { term: this.#leading().server.term };
    } finally {
      this.#isPromoting = false;
    }
  }

  /** A start that waits for others ends, as what it has come to be. */
  async #breakOff(): Promise<void> {
    this.#state = { kind: "starting" };
    await this.#opening?.close();
    await this.#working;
  }

  /** Errors: invalid. */
  async #wholeCopy(state: State): Promise<CopyFacts> {
    const { directory } = this.#options;
    const facts = state.kind === "copy" ? state.copy.facts : await copyFacts(this.#platform, directory);
    if (facts !== undefined) return facts;
    throw new BrineError("invalid", "this copy of the ledger is not whole: the leader was still sending its state");
  }

  async #takeOver(how: { oldLeaderIsOff: boolean; acceptLoss: boolean }): Promise<void> {
    const { clusterId, voter, serverId, directory } = this.#options;
    const state = this.#state;
    const isOver = () => this.#stopped || this.#state !== state;
    if (state.kind === "leading") throw new BrineError("invalid", "this server leads already");
    if (state.kind === "ended") throw state.reason;
    try {
      if (voter.ballot.configuration === undefined) {
        throw new BrineError("invalid", "this server keeps no copy of the ledger");
      }
      await this.#wholeCopy(state);
      this.#log.warn("asked to lead", how);
      let elsewhere: string | undefined;
      const standing = await standForLeader(this.#platform, voter, {
        ...{ clusterId, promotion: true, ...how },
        ...{ patienceMs: promotionPatienceMs, stopped: isOver },
        beforeClaim: async (known) => {
          const copied = { clusterId, serverId, term: known.term, ...(await this.#wholeCopy(state)) };
          elsewhere = await entriesElsewhere(this.#platform, copied);
          if (elsewhere !== undefined && !how.acceptLoss) throw behind(known, elsewhere);
        },
      });
      if (standing.kind === "forgotten") throw this.#forgotten();
      if (standing.kind !== "leads" || isOver()) throw new BrineError("busy", "another server leads");
      const isLacking = how.acceptLoss && (standing.mayLack || elsewhere !== undefined);
      const promoted: State = { kind: "starting" };
      this.#state = promoted;
      const alone = { ...standing.configuration, inStep: [serverId] };
      this.#inBackground(async () => {
        if (state.kind === "copy") await state.copy.close();
        await beginHistory(this.#platform, directory, { isLacking });
        await this.#leadAfter(standing.term, alone, () => this.#stopped || this.#state !== promoted);
      });
    } catch (error) {
      // The start that was broken off goes on.
      if (state.kind === "starting" && !isOver()) this.#inBackground(() => this.#stand());
      throw error;
    }
  }
}

/** An empty ledger would lead, and have the stores give up what it doesn't know. Error: diskFailed. */
async function checkThere({ disk }: Platform, directory: string): Promise<void> {
  if ((await disk.list(directory)).length > 0) return;
  throw new BrineError("diskFailed", `the metadata is gone: ${directory} is empty or missing`, {
    advice:
      "bring it back; or have the server with the other copy lead (brine ledger promote), remove the file ballot here and start with --join; or, without a copy, brine restore-metadata",
  });
}

function reasonOf(error: unknown): BrineError {
  if (!(error instanceof DiskError)) return new BrineError("internal", String(error), { cause: error });
  return new BrineError(error.code === "ENOSPC" ? "noSpace" : "diskFailed", error.message, { cause: error });
}
