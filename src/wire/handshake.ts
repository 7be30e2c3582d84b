/**
 * The hello: first message on every connection, which says who connects, to which cluster, in which version, and what
 * the connection has to be able to do. The side that listens accepts or refuses it; refusals say both sides' values.
 *
 * The version stands first in request and response, and failures keep their format for ever: so processes of
 * different versions can still tell each other that they are.
 */
import { CodecError, Reader } from "../codec/buffers.ts";
import { decode } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import {
  type HelloRequest,
  type HelloResponse,
  hello,
  type Keepers,
  type LedgerOrigin,
  protocolVersion,
  type Role,
} from "./catalogue/handshake.ts";
import { kindRequest } from "./frame.ts";
import type { Frame } from "./frame-parser.ts";

/** How long the other side of a new connection may stay silent. */
export const helloTimeoutMs = 5_000;

/** What connections to and from this process can have. None exists yet. */
export const supportedCapabilities: readonly string[] = [];

/** Who connects. */
export interface Identity {
  readonly role: Role;
  /** Empty where it isn't known yet. */
  readonly clusterId: string;
  readonly peerId: string;
  readonly description: string;
  readonly wanted?: readonly string[];
  readonly demanded?: readonly string[];
}

/** Who listens. */
export interface ServerIdentity {
  readonly clusterId: string;
  readonly serverId: string;
  /** The term under which it leads; none: it doesn't. */
  readonly term?: number;
  /** Of its ledger, while it leads. */
  readonly origin?: LedgerOrigin | undefined;
  /** Default: it knows of none. */
  readonly keepers?: Keepers;
}

/** Of a server that has never heard of a copy of the ledger. */
export const noKeepers: Keepers = { term: 0, addresses: [] };

/** What holds of what a server has recorded itself as a voter, and what a leader has told its store since. */
export function laterKeepers(recorded: Keepers, told: Keepers = noKeepers): Keepers {
  return told.addresses.length > 0 && told.term >= recorded.term ? told : recorded;
}

export function helloOf(identity: Identity): HelloRequest {
  return {
    version: protocolVersion,
    clusterId: identity.clusterId,
    role: identity.role,
    peerId: identity.peerId,
    description: identity.description,
    wanted: [...(identity.wanted ?? [])],
    demanded: [...(identity.demanded ?? [])],
  };
}

/** The hello in the first frame. Throws BrineError versionMismatch, or CodecError if it is something else. */
export function readHello(frame: Frame): HelloRequest {
  if (frame.kind !== kindRequest || frame.methodId !== hello.id) throw new CodecError("no hello before other messages");
  const version = new Reader(frame.body).u16();
  if (version !== protocolVersion) {
    throw new BrineError(
      "versionMismatch",
      `this server speaks version ${protocolVersion} of the protocol, who connects speaks ${version}`,
      { advice: "Install the same release of brinefs on both machines." },
    );
  }
  return decode(hello.request, frame.body);
}

/** Throws BrineError wrongCluster or refused. */
export function acceptHello(
  request: HelloRequest,
  server: ServerIdentity,
  supported: readonly string[] = supportedCapabilities,
): HelloResponse {
  checkCluster(request.clusterId, server.clusterId, `server ${server.serverId}`);
  const missing = request.demanded.filter((capability) => !supported.includes(capability));
  if (missing.length > 0) throw missingCapability(missing, supported, `server ${server.serverId}`);
  const granted = supported.filter((one) => request.demanded.includes(one) || request.wanted.includes(one));
  const { clusterId, serverId, term = 0, origin, keepers = noKeepers } = server;
  return { version: protocolVersion, clusterId, serverId, granted, term, origin, keepers };
}

/** The answer to our hello, checked as strictly as if the server hadn't. Throws BrineError, CodecError. */
export function readWelcome(frame: Frame, identity: Identity, address: string): HelloResponse {
  const version = new Reader(frame.body).u16();
  if (version !== protocolVersion) {
    throw new BrineError(
      "versionMismatch",
      `this process speaks version ${protocolVersion} of the protocol, the server at ${address} speaks ${version}`,
      { advice: "Install the same release of brinefs on both machines." },
    );
  }
  const response = decode(hello.response, frame.body);
  checkCluster(identity.clusterId, response.clusterId, `the server at ${address}`);
  const missing = (identity.demanded ?? []).filter((capability) => !response.granted.includes(capability));
  if (missing.length > 0) throw missingCapability(missing, response.granted, `the server at ${address}`);
  return response;
}

function checkCluster(asked: string, served: string, who: string): void {
  if (asked === "" || served === "" || asked === served) return;
  throw new BrineError("wrongCluster", `${who} belongs to cluster ${served}, but cluster ${asked} was asked for`, {
    advice: "Check the address, and whether the data directory on one side is that of another cluster.",
  });
}

function missingCapability(missing: readonly string[], there: readonly string[], who: string): BrineError {
  const offer = there.length === 0 ? "none" : there.join(", ");
  return new BrineError("refused", `${missing.join(", ")} is demanded, but ${who} offers ${offer}`, {
    advice: `Switch ${missing.join(", ")} on for the server, or don't demand it.`,
  });
}
