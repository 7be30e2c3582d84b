/**
 * A network of the test's own: a bridge on this machine, and network namespaces with an address each. A namespace is cut
 * off by taking its port off the bridge: packets then vanish without a trace, both ways, and nobody gets an error.
 */
import { randomBytes } from "node:crypto";
import { type Context, hasProgram, runProgram, shell, undo, whyNoMount } from "./cluster.ts";

/** Where a server or client runs: its address, and what is put before its command to run it there. */
export interface Place {
  readonly host: string;
  readonly enter: readonly string[];
}

/** Why network namespaces can't be had here, or undefined if they can. */
export function whyNoNetwork(): string | undefined {
  const absent = ["ip", "nsenter"].find((program) => !hasProgram(program));
  return whyNoMount() ?? (absent === undefined ? undefined : `not installed: ${absent}`);
}

export class TestNetwork {
  readonly #bridge: string;
  readonly #tag: string;
  readonly #prefix: string;
  readonly #ports = new Map<Place, string>();

  private constructor(tag: string, prefix: string) {
    this.#tag = tag;
    this.#bridge = `br${tag}`;
    this.#prefix = prefix;
  }

  static async start(context: Context): Promise<TestNetwork> {
    const tag = randomBytes(4).toString("hex");
    const [second, third] = randomBytes(2);
    const network = new TestNetwork(tag, `10.${200 + (second! % 50)}.${third}`);
    const bridge = network.#bridge;
    undo(context, () => runProgram("ip", ["link", "delete", bridge]));
    await shell(
      `ip link add ${bridge} type bridge && ip addr add ${network.#prefix}.1/24 dev ${bridge} && ip link set ${bridge} up`,
    );
    return network;
  }

  /** A namespace on the bridge; gone after the test. */
  async place(context: Context): Promise<Place> {
    const number = this.#ports.size + 2;
    const name = `ns${this.#tag}${number}`;
    const [outer, inner] = [`o${this.#tag}${number}`, `i${this.#tag}${number}`];
    const host = `${this.#prefix}.${number}`;
    undo(context, async () => {
      await runProgram("ip", ["netns", "delete", name]);
      await runProgram("ip", ["link", "delete", outer]); // gone with the namespace, unless it was never moved
    });
    await shell(`
      ip netns add ${name}
      ip link add ${outer} type veth peer name ${inner} netns ${name}
      ip link set ${outer} master ${this.#bridge} up
      ip -n ${name} addr add ${host}/24 dev ${inner}
      ip -n ${name} link set ${inner} up
      ip -n ${name} link set lo up`);
    const place = { host, enter: ["nsenter", `--net=/run/netns/${name}`, "--"] };
    this.#ports.set(place, outer);
    return place;
  }

  async cut(place: Place): Promise<void> {
    await shell(`ip link set ${this.#ports.get(place)} nomaster`);
  }

  async mend(place: Place): Promise<void> {
    await shell(`ip link set ${this.#ports.get(place)} master ${this.#bridge}`);
  }
}
