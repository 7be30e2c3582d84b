/** A server's ballot on its disk: DIR/ballot. docs/format.md, "Ballot". */
import { CodecError } from "../../codec/buffers.ts";
import { decode, encode, optional, struct, text, u16, u64 } from "../../codec/schema.ts";
import { BrineError } from "../../errors/brine-error.ts";
import type { Platform } from "../../platform/platform.ts";
import { configuration } from "../../wire/catalogue/ledger.ts";
import { type Ballot, emptyBallot } from "./ballot.ts";

const format = 1;
const ballotFile = struct({ format: u16, term: u64, leader: text(64), configuration: optional(configuration) });

/** Errors: badChecksum (damaged), DiskError. */
export async function readBallot(platform: Platform, path: string): Promise<Ballot> {
  const content = await platform.disk.readFile(path);
  if (content === undefined) return emptyBallot;
  try {
    const { term, leader, configuration: known } = decode(ballotFile, content);
    return { term, leader, configuration: known };
  } catch (error) {
    if (!(error instanceof CodecError)) throw error;
    throw new BrineError("badChecksum", `${path} is damaged: nobody knows what this server has promised`, {
      cause: error,
      advice: "start this server with a new, empty data directory",
    });
  }
}

/** Durable when it resolves. Errors: DiskError. */
export async function writeBallot(platform: Platform, path: string, ballot: Ballot): Promise<void> {
  await platform.disk.writeFile(path, encode(ballotFile, { format, ...ballot }));
}
