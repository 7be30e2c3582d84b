/** The network as one incarnation sees it. */
import { joinAddress, splitAddress } from "../platform/address.ts";
import { type Address, type Connection, type Listener, type Network, NetworkError } from "../platform/network.ts";
import type { Incarnation } from "./incarnation.ts";
import type { NetworkFabric } from "./network-fabric.ts";
import type { SimulatedRandom } from "./simulated-random.ts";

/** TCP repeats a SYN that wasn't answered; the real first repetition comes after 1 s. */
const synRepeatUs = 1_000_000;
const localUsMax = 50;
/** The kernel chooses ports from here on for sides that connect, and for port 0. */
const ephemeralPorts = [32_768, 60_999] as const;

export class SimulatedNetwork implements Network {
  readonly #incarnation: Incarnation;
  readonly #fabric: NetworkFabric;
  readonly #random: SimulatedRandom;

  constructor(incarnation: Incarnation, fabric: NetworkFabric, random: SimulatedRandom) {
    this.#incarnation = incarnation;
    this.#fabric = fabric;
    this.#random = random;
  }

  async listen(address: Address, onConnection: (connection: Connection) => void): Promise<Listener> {
    await this.#incarnation.delay(this.#random.below(localUsMax), "listen");
    const { host, port } = splitAddress(address);
    if (host !== this.#incarnation.host) throw new NetworkError("EADDRNOTAVAIL", `listen on ${address}`);
    const bound = joinAddress(host, port === 0 ? this.#random.between(...ephemeralPorts) : port);
    const { listeners } = this.#fabric;
    if (listeners.has(bound)) throw new NetworkError("EADDRINUSE", `listen on ${address}`);
    const listening = { incarnation: this.#incarnation, onConnection };
    listeners.set(bound, listening);
    return {
      address: bound,
      async close() {
        if (listeners.get(bound) === listening) listeners.delete(bound);
      },
    };
  }

  connect(address: Address, timeoutMs: number): Promise<Connection> {
    const { host } = splitAddress(address);
    const near = this.#incarnation;
    const own = joinAddress(near.host, this.#random.between(...ephemeralPorts));
    return new Promise((resolve, reject) => {
      let over = false;
      const timeout = near.after(timeoutMs * 1_000, "connect time-out", () => {
        over = true;
        reject(new NetworkError("ETIMEDOUT", `connect to ${address}`));
      });
      const attempt = () => {
        if (over) return;
        if (!this.#fabric.reachable(near.host, host)) {
          near.after(synRepeatUs, "SYN", attempt);
          return;
        }
        const answerUs = this.#fabric.link(host, near.host).latencyUs();
        const listening = this.#fabric.listeners.get(address);
        if (listening === undefined) {
          near.after(answerUs, "refused", () => {
            timeout.cancel();
            if (!over) reject(new NetworkError("ECONNREFUSED", `connect to ${address}`));
            over = true;
          });
          return;
        }
        const connection = this.#fabric.establish(near, own, listening, address, answerUs);
        listening.incarnation.after(0, `accept ${own}`, () => listening.onConnection(connection.otherEnd));
        near.after(answerUs, "connected", () => {
          timeout.cancel();
          if (over) connection.destroy();
          else resolve(connection);
          over = true;
        });
      };
      near.after(this.#fabric.link(near.host, host).latencyUs(), `SYN ${address}`, attempt);
    });
  }
}
