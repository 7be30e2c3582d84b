/**
 * The least that any copy from one server to another does: a process reads a file and sends it over loopback, another one writes it and
 * syncs it, and both sum what they see. Healing is measured beside it.
 *
 *     node bench/socket-copy.ts FILE COPY        prints the bytes a second, of both processes' work
 */
import { spawn } from "node:child_process";
import { createReadStream, createWriteStream, statSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { crc32c } from "@node-rs/crc32";

const pieceBytes = 1024 * 1024;

/** Passes all on, and sums it. */
function summing(): Transform {
  let checksum = 0;
  return new Transform({
    highWaterMark: pieceBytes,
    transform(bytes: Buffer, _encoding, done) {
      checksum = crc32c(bytes, checksum);
      done(null, bytes);
    },
  });
}

async function send(path: string, port: number): Promise<void> {
  const socket = connect(port, "127.0.0.1");
  await pipeline(createReadStream(path, { highWaterMark: pieceBytes }), summing(), socket);
}

async function receive(from: string, to: string): Promise<void> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const sender = spawn(process.execPath, [
    fileURLToPath(import.meta.url),
    from,
    String((server.address() as AddressInfo).port),
  ]);
  const socket = await new Promise<Socket>((done) => server.once("connection", done));
  const startedMs = performance.now();
  await pipeline(socket, summing(), createWriteStream(to, { highWaterMark: pieceBytes, flush: true }));
  const seconds = (performance.now() - startedMs) / 1_000;
  sender.kill();
  server.close();
  console.log(statSync(to).size / seconds);
}

const [from, to] = process.argv.slice(2);
if (from === undefined || to === undefined) throw new Error("node bench/socket-copy.ts FILE COPY");
await (/^\d+$/.test(to) ? send(from, Number(to)) : receive(from, to));
