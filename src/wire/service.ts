/**
 * What a process answers: a table from methods to handlers, shared by all its peers.
 *
 *     const service = new Service()
 *       .handle(heartbeat, ({ session }) => sessions.heard(session), { roles: ["client"] })
 *       .handle(readStatus, () => status());
 */
import { BrineError } from "../errors/brine-error.ts";
import type { Role } from "./catalogue/handshake.ts";
import type { Method } from "./method.ts";
import type { Handler, Peer } from "./peer.ts";

export interface HandleOptions {
  /**
   * Who may call the method; others are answered `refused`. Default: every role. It speaks of peers that connected to
   * us: the ones we connected to ourselves (`peer.remote.role` is "server") we chose, and they may call anything.
   */
  readonly roles?: readonly Role[];
  /** When the handler has answered or failed it has no view of the payload any more: its memory is used again. */
  readonly releasesPayload?: boolean;
  /** The payload of its answers is of `responsePayloads`, and nobody else's: its memory is used again when it has left. */
  readonly lendsPayload?: boolean;
}

export interface Registration {
  readonly method: Method<unknown, unknown>;
  readonly handler: Handler<unknown, unknown>;
  readonly roles: readonly string[] | undefined;
  readonly releasesPayload?: boolean;
  readonly lendsPayload?: boolean;
}

/** A request that is being answered, for `brine waits`. */
export interface RequestUnderWay {
  readonly registration: Registration;
  readonly body: unknown;
  readonly peer: Peer;
  readonly arrivedMs: number;
}

export class Service {
  /** In the order of arrival; of all peers. */
  readonly underWay = new Set<RequestUnderWay>();
  readonly #registrations = new Map<number, Registration>();

  /** Registers the handler of a method; each method once. */
  handle<Q, R>(method: Method<Q, R>, handler: Handler<Q, R>, options: HandleOptions = {}): this {
    const known = this.#registrations.get(method.id);
    if (known !== undefined) throw new Error(`method ${method.id} is ${known.method.name} already, now ${method.name}`);
    this.#registrations.set(method.id, {
      method: method as Method<unknown, unknown>,
      handler: handler as Handler<unknown, unknown>,
      roles: options.roles,
      releasesPayload: options.releasesPayload === true,
      lendsPayload: options.lendsPayload === true,
    });
    return this;
  }

  /** Throws BrineError refused if nobody handles the method here or the peer may not call it. */
  find(methodId: number, peer: Peer): Registration {
    const registration = this.#registrations.get(methodId);
    if (registration === undefined) {
      throw new BrineError("refused", `request ${methodId} is not answered by a server of this role`, {
        advice: "ask one with the role metadata: the one that this server has joined",
      });
    }
    const { roles, method } = registration;
    const { role, peerId, address } = peer.remote;
    if (roles !== undefined && role !== "server" && !roles.includes(role)) {
      throw new BrineError("refused", `${method.name} is for ${roles.join(", ")}; ${address} (${peerId}) is ${role}`);
    }
    return registration;
  }
}
