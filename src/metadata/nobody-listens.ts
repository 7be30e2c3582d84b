/** Asks an address whether anybody listens. */
import { type Address, type Network, NetworkError } from "../platform/network.ts";

/** True if connections to the address are refused: the process that listened there has ended. False if nothing is known. */
export async function nobodyListens(network: Network, address: Address, timeoutMs: number): Promise<boolean> {
  try {
    const connection = await network.connect(address, timeoutMs);
    connection.start({ onData: () => {}, onDrain: () => {}, onClose: () => {} });
    connection.destroy();
    return false;
  } catch (error) {
    if (!(error instanceof NetworkError)) throw error;
    return error.code === "ECONNREFUSED";
  }
}
