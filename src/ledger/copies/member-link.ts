/**
 * The leader's connection to another server that keeps the ledger or votes: made anew as often as it ends. Over it the leader
 * records its configuration, asks for leave to serve, and feeds the copy.
 */
import { BrineError, hasCode } from "../../errors/brine-error.ts";
import { messageOf } from "../../errors/message.ts";
import { sleep } from "../../platform/clock.ts";
import type { Logger } from "../../platform/logger.ts";
import type { Platform } from "../../platform/platform.ts";
import {
  type Configuration,
  type LedgerMember,
  recordConfiguration,
  renewServing,
} from "../../wire/catalogue/ledger.ts";
import type { Peer } from "../../wire/peer.ts";
import { dial } from "./candidate.ts";
import type { CopyTimeouts } from "./copy-timeouts.ts";

export interface MemberLinkOptions {
  readonly platform: Platform;
  readonly log: Logger;
  readonly member: LedgerMember;
  readonly clusterId: string;
  readonly serverId: string;
  readonly timeouts: CopyTimeouts;
  /** The leader's, as it is now. */
  readonly configuration: () => Configuration;
  /** What else is done over each connection, until that ends. */
  readonly onPeer?: (peer: Peer) => void;
  /** A higher term was promised to another one. */
  readonly onOutdated: (error: BrineError) => void;
}

export class MemberLink {
  readonly member: LedgerMember;
  readonly #options: MemberLinkOptions;
  #peer: Peer | undefined;
  #leaveUntilMs = 0;
  #stopped = false;
  /** Why it is away, said once. */
  #reason = "";

  constructor(options: MemberLinkOptions) {
    this.#options = options;
    this.member = options.member;
  }

  start(): void {
    void this.#run();
  }

  stop(): void {
    this.#stopped = true;
    this.#peer?.close("the leader stops");
  }

  get connected(): boolean {
    return this.#peer !== undefined;
  }

  /** Until when this server's leave to serve is good, on the own clock. */
  get leaveUntilMs(): number {
    return this.#leaveUntilMs;
  }

  /** Durable there when it resolves. Errors: unreachable, notLeader, and those of the connection. */
  async record(configuration: Configuration): Promise<void> {
    const { member, serverId, timeouts } = this.#options;
    const peer = this.#peer;
    if (peer === undefined) throw new BrineError("unreachable", `${member.address} is not connected`);
    await this.#recordOn(peer, configuration, serverId, timeouts.silenceMs);
  }

  async #recordOn(peer: Peer, configuration: Configuration, leader: string, timeoutMs: number): Promise<void> {
    try {
      await peer.request(recordConfiguration, { leader, configuration }, { timeoutMs });
    } catch (error) {
      if (hasCode(error, "notLeader") && !this.#stopped) this.#options.onOutdated(error);
      throw error;
    }
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const { platform, timeouts, log, member } = this.#options;
    let waitMs = timeouts.retryMs;
    while (!this.#stopped) {
      const beganMs = platform.clock.nowMs();
      try {
        await this.#connection();
      } catch (error) {
        const reason = messageOf(error);
        if (this.#stopped) return;
        if (reason !== this.#reason) log.warn("a server of the ledger is away", { address: member.address, reason });
        this.#reason = reason;
      }
      this.#peer = undefined;
      await sleep(platform.clock, waitMs);
      // One that answers and fails at once, as with a broken disk, is left in peace.
      const lasted = platform.clock.nowMs() - beganMs - waitMs >= timeouts.serveMs;
      waitMs = lasted ? timeouts.retryMs : Math.min(2 * waitMs, timeouts.retryMsMax);
    }
  }

  /** One connection; ends with it. */
  async #connection(): Promise<void> {
    const { platform, member, clusterId, serverId, timeouts, configuration } = this.#options;
    const peer = await dial(platform, member, { clusterId, serverId, timeoutMs: timeouts.connectMs });
    try {
      if (this.#stopped) return;
      await this.#recordOn(peer, configuration(), serverId, timeouts.silenceMs);
      if (this.#stopped) return;
      this.#peer = peer;
      this.#reason = "";
      this.#options.onPeer?.(peer);
      while (!this.#stopped && !peer.closed) {
        await this.#renew(peer);
        await sleep(platform.clock, timeouts.renewMs);
      }
      if (!this.#stopped) throw new BrineError("closed", "the connection was lost");
    } finally {
      peer.close("the connection is of no use");
    }
  }

  async #renew(peer: Peer): Promise<void> {
    const { platform, serverId, timeouts, configuration } = this.#options;
    const sentMs = platform.clock.nowMs();
    const body = { term: configuration().term, leader: serverId };
    try {
      const { body: leave } = await peer.request(renewServing, body, { timeoutMs: timeouts.silenceMs, urgent: true });
      this.#leaveUntilMs = Math.max(this.#leaveUntilMs, sentMs + leave.serveMs);
    } catch (error) {
      if (hasCode(error, "notLeader") && !this.#stopped) this.#options.onOutdated(error);
      throw error;
    }
  }
}
