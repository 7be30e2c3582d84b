/** What a store knows of the leader that it met last (wire/known-term.ts), also over restarts. */
import { messageOf } from "../errors/message.ts";
import type { Logger } from "../platform/logger.ts";
import type { Platform } from "../platform/platform.ts";
import type { KnownLedger } from "../wire/catalogue/handshake.ts";
import { KnownTerm, type Leading } from "../wire/known-term.ts";
import { writeLeaderTerm } from "./store-directory.ts";

/** How old the index on the disk may be: it is there for machines that are all set back or started again, and costs a sync. */
const writeMs = 60_000;

export class KnownLeader {
  readonly known: KnownTerm;
  readonly #platform: Platform;
  readonly #log: Logger;
  readonly #directory: string;
  readonly #beside: string | undefined;
  #written: KnownLedger;
  #writtenMs: number;
  /** One write at a time. */
  #writing: Promise<void> = Promise.resolve();

  /** `directories`: the store's, and the one beside it. `ledger`: what they have (readLeaderTerm). */
  constructor(
    platform: Platform,
    log: Logger,
    directories: { readonly directory: string; readonly besideDirectory?: string },
    ledger: KnownLedger,
  ) {
    this.#platform = platform;
    this.#log = log;
    this.#directory = directories.directory;
    this.#beside = directories.besideDirectory;
    this.#written = ledger;
    this.#writtenMs = platform.clock.nowMs();
    this.known = new KnownTerm(log, ledger);
  }

  get ledger(): KnownLedger {
    return this.known.ledger;
  }

  /** Durable when it resolves, before anything is done that the leader says. Errors: notLeader (outdated), DiskError. */
  async meets(leader: Leading, address: string): Promise<void> {
    await this.#writing;
    this.known.check(leader, address);
    const { term, startedMs, history } = this.ledger;
    const next = this.known.after(leader);
    const isSame = next.term === term && next.startedMs === startedMs && next.history === history;
    if (!isSame) await this.#write(next);
    this.known.met(leader);
  }

  /** How far the leader's ledger goes, as it has told. */
  heard(term: number, index: number): void {
    this.known.heard(term, index);
    if (this.#platform.clock.nowMs() - this.#writtenMs < writeMs) return;
    this.#writtenMs = this.#platform.clock.nowMs();
    this.#writing = this.flush();
  }

  /** Never rejects: without it an old copy of the metadata may not be noticed, which is no reason to end. */
  async flush(): Promise<void> {
    await this.#writing;
    if (this.ledger.index === this.#written.index) return;
    await this.#write(this.ledger).catch((error: unknown) => {
      this.#log.debug("the leader's last entry is not written down", { reason: messageOf(error) });
    });
  }

  /** Error: DiskError. */
  async #write(ledger: KnownLedger): Promise<void> {
    await writeLeaderTerm(this.#platform, this.#directory, ledger);
    await this.#writeBeside(ledger);
    this.#written = ledger;
    this.#writtenMs = this.#platform.clock.nowMs();
  }

  /** Never rejects: it may be on another file system, and is needed only when the store's directory was emptied. */
  async #writeBeside(ledger: KnownLedger): Promise<void> {
    const directory = this.#beside;
    if (directory === undefined) return;
    await writeLeaderTerm(this.#platform, directory, ledger).catch((error: unknown) => {
      this.#log.warn("the leader is not noted beside the store's directory", { directory, reason: messageOf(error) });
    });
  }
}
