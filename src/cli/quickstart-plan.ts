/** DIR/quickstart.json: how many servers a quickstart's data directory has, and on which ports. */
import { BrineError } from "../errors/brine-error.ts";
import type { Address } from "../platform/network.ts";
import { NetworkError } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { readJson, writeJson } from "./json-file.ts";
import { defaultPort } from "./options.ts";

const planFormat = 1;
const defaultServers = 2;

interface SavedPlan {
  readonly format: number;
  readonly servers: number;
  readonly port: number;
}

export interface QuickstartPlan {
  /** Address of each server; the first one has the metadata. */
  readonly addresses: readonly Address[];
  save(): Promise<void>;
}

/** What the directory has, else what the options say. Errors: invalid, versionMismatch. */
export async function readPlan(
  { disk }: Platform,
  directory: string,
  options: { servers?: number; port?: number },
): Promise<QuickstartPlan> {
  const file = `${directory}/quickstart.json`;
  const saved = (await readJson(disk, file)) as SavedPlan | undefined;
  if (saved === undefined) {
    const foreign = (await disk.list(directory)).find((name) => name !== "lock" && name !== "logs");
    if (foreign !== undefined) {
      throw new BrineError("invalid", `${directory} is not empty and not of a quickstart (it has ${foreign})`, {
        advice: "choose another directory with --data",
      });
    }
  } else if (saved.format > planFormat) {
    throw new BrineError("versionMismatch", `${file} has version ${saved.format}, this brinefs knows ${planFormat}`, {
      advice: "use the brinefs that wrote it, or a newer one",
    });
  } else if (options.servers !== undefined && options.servers !== saved.servers) {
    throw new BrineError("invalid", `${directory} has ${saved.servers} servers, not ${options.servers}`, {
      advice: "leave --servers out, or choose another directory with --data",
    });
  }
  const servers = saved?.servers ?? options.servers ?? defaultServers;
  const port = options.port ?? saved?.port ?? defaultPort;
  return {
    addresses: Array.from({ length: servers }, (_, index) => `127.0.0.1:${port + index}`),
    save: () => writeJson(disk, file, { format: planFormat, servers, port }),
  };
}

/** From a server's port to that of its metrics; the mount's comes after the last server's. */
const metricsPortDistance = 100;

/** Where the servers and, last, the mount serve their metrics; none if another program has one of these ports. */
export async function findMetricsAddresses({ network }: Platform, plan: QuickstartPlan): Promise<readonly Address[]> {
  const first = Number(plan.addresses[0]!.split(":")[1]) + metricsPortDistance;
  const addresses = Array.from({ length: plan.addresses.length + 1 }, (_, index) => `127.0.0.1:${first + index}`);
  try {
    for (const address of addresses) {
      await (await network.listen(address, (connection) => connection.destroy())).close();
    }
    return addresses;
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    return [];
  }
}

/** Error: busy, with the port that another program has. */
export async function checkPorts({ network }: Platform, plan: QuickstartPlan): Promise<void> {
  for (const address of plan.addresses) {
    try {
      await (await network.listen(address, (connection) => connection.destroy())).close();
    } catch (error) {
      if (!(error instanceof NetworkError)) throw error;
      const reason = error.code === "EADDRINUSE" ? "another program listens there" : error.code;
      throw new BrineError("busy", `cannot listen on ${address}: ${reason}`, {
        advice: "choose other ports with --port",
        cause: error,
      });
    }
  }
}
