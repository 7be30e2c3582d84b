/** A small HTTP server for texts that people and their tools read: metrics. Only processes that the command line starts have one. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { joinAddress, splitAddress } from "./address.ts";
import { type Address, NetworkError } from "./network.ts";

/** A scrape takes milliseconds; who is slower must not keep a connection. */
const requestTimeoutMs = 10_000;
/** How often the time-out is looked at. */
const checkMs = 2_000;
/** With one more, the one that has asked for nothing for the longest time is ended: who keeps silent ones open shuts nobody out. */
const connectionsMax = 32;
const headerBytesMax = 8 * 1024;

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
  const options = {
    requestTimeout: requestTimeoutMs,
    headersTimeout: requestTimeoutMs,
    connectionsCheckingInterval: checkMs,
    maxHeaderSize: headerBytesMax,
  };
  /** The one that has asked last is the last one. */
  const sockets = new Set<Socket>();
  const server = createServer(options, (request, response) => {
    if (sockets.delete(request.socket)) sockets.add(request.socket);
    respond(request, response, answer);
  });
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    const [oldest] = sockets;
    if (sockets.size > connectionsMax) oldest!.destroy();
  });
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
