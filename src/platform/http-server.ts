/** A small HTTP server for texts that people and their tools read: metrics. Only processes that the command line starts have one. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { joinAddress, splitAddress } from "./address.ts";
import { type Address, NetworkError } from "./network.ts";

/** A scrape takes milliseconds; who is slower must not keep a connection. */
const requestTimeoutMs = 10_000;
const connectionsMax = 32;

export interface TextAnswer {
  readonly contentType: string;
  readonly text: string;
}

export interface HttpServer {
  /** With the real port. */
  readonly address: Address;
  close(): void;
}

/**
 * Answers GET and HEAD of the paths for which `answer` has a text; everything else with 404 or 405.
 * Errors: NetworkError EADDRINUSE, EADDRNOTAVAIL, EACCES, EINVAL.
 */
export async function serveTexts(
  address: Address,
  answer: (path: string) => TextAnswer | undefined,
): Promise<HttpServer> {
  const { host, port } = splitAddress(address);
  const server = createServer({ requestTimeout: requestTimeoutMs }, (request, response) => {
    respond(request, response, answer);
  });
  server.maxConnections = connectionsMax;
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new NetworkError(error.code ?? "EIO", `listen on ${address}`, error));
    });
    server.listen({ host, port }, resolve);
  });
  server.removeAllListeners("error").on("error", () => {});
  return {
    address: joinAddress(host, (server.address() as AddressInfo).port),
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

function respond(
  request: IncomingMessage,
  response: ServerResponse,
  answer: (path: string) => TextAnswer | undefined,
): void {
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.writeHead(405, { allow: "GET, HEAD" }).end();
    return;
  }
  const found = answer((request.url ?? "/").split("?")[0]!);
  if (found === undefined) {
    response.writeHead(404, { "content-type": "text/plain" }).end("nothing here\n");
    return;
  }
  const bytes = Buffer.from(found.text);
  response.writeHead(200, { "content-type": found.contentType, "content-length": bytes.byteLength });
  response.end(request.method === "HEAD" ? undefined : bytes);
}
