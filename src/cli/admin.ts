/** Requests of the command line to a metadata server. */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { thisProcess } from "../platform/processes.ts";
import { connectPeer } from "../wire/connect.ts";
import type { Method } from "../wire/method.ts";
import { Service } from "../wire/service.ts";

/** A person waits: long enough for a busy server, short enough to be told. */
const connectTimeoutMs = 3_000;
const requestTimeoutMs = 30_000;

/** Sends one request to the first of the addresses that answers as leader. Errors: unreachable, and the method's own. */
export async function askLeader<Q, R>(
  platform: Platform,
  addresses: readonly Address[],
  method: Method<Q, R>,
  body: Q,
): Promise<R> {
  let failure: unknown;
  for (const address of addresses) {
    try {
      return await ask(platform, address, method, body);
    } catch (error) {
      if (!hasCode(error, "unreachable", "notLeader", "timedOut", "closed")) throw error;
      failure ??= error;
    }
  }
  throw failure ?? new BrineError("invalid", "no address was given");
}

async function ask<Q, R>(platform: Platform, address: Address, method: Method<Q, R>, body: Q): Promise<R> {
  const identity = {
    role: "admin" as const,
    clusterId: "",
    peerId: "",
    description: `brine pid ${thisProcess.pid} on ${thisProcess.host}`,
  };
  const peer = await connectPeer(platform, address, identity, new Service(), connectTimeoutMs);
  try {
    return (await peer.request(method, body, { timeoutMs: requestTimeoutMs })).body;
  } finally {
    peer.close("done");
  }
}
