/** Splits and joins addresses: `HOST:PORT`, an IPv6 host in brackets. */
import { type Address, NetworkError } from "./network.ts";

/** The host (without brackets) and the port of an address. Errors: NetworkError EINVAL. */
export function splitAddress(address: Address): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) throw new NetworkError("EINVAL", `"${address}" is not HOST:PORT`);
  return { host, port };
}

/** Whether two sides of a connection call it the same: an IPv4 address may come as one of IPv6 (RFC 4291, 2.5.5.2). */
export function isSameAddress(left: Address, right: Address): boolean {
  return plain(left) === plain(right);
}

function plain(address: Address): Address {
  return address.replace(/^\[::ffff:(\d+\.\d+\.\d+\.\d+)\]/i, "$1");
}

export function joinAddress(host: string, port: number): Address {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
