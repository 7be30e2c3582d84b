/**
 * A leader that starts again takes over what its copy has and it has not: the last entries, which it sent and didn't write
 * itself. They may have been promised to nobody, but the copy has applied them. Before the new term begins: they are entries
 * of the term before.
 */
import { BrineError } from "../../errors/brine-error.ts";
import type { Platform } from "../../platform/platform.ts";
import {
  attachCopy,
  type Configuration,
  type LedgerMember,
  readEntries,
  recordConfiguration,
} from "../../wire/catalogue/ledger.ts";
import type { FileLedger } from "../file/file-ledger.ts";
import { dial } from "./candidate.ts";
import { endMatches } from "./copy-feed.ts";
import type { Voter } from "./voter.ts";

/**
 * `configuration`: of the new term. Errors: badChecksum (the logs have parted, which copies in step can't), and those of the
 * connection.
 */
export async function adoptTail(
  platform: Platform,
  parts: { voter: Voter; file: FileLedger; clusterId: string; copy: LedgerMember; configuration: Configuration },
): Promise<void> {
  const { voter, file, clusterId, copy, configuration } = parts;
  const { serverId } = voter;
  const timeoutMs = voter.timeouts.silenceMs;
  const peer = await dial(platform, copy, { clusterId, serverId, timeoutMs: voter.timeouts.connectMs });
  try {
    const { term } = configuration;
    await peer.request(recordConfiguration, { leader: serverId, configuration }, { timeoutMs });
    const { body: end } = await peer.request(attachCopy, { term }, { timeoutMs });
    if (end.lastIndex <= file.lastIndex) {
      if (!(await endMatches(file, end))) throw parted(copy, end.lastIndex);
      return;
    }
    // From the own last entry on: it has to be there, too.
    const from = Math.max(1, file.lastIndex);
    while (file.lastIndex < end.lastIndex) {
      const { body } = await peer.request(readEntries, { term, from: Math.max(from, file.lastIndex) }, { timeoutMs });
      const same = body.entries.find(({ index }) => index === file.lastIndex);
      if (file.lastIndex > 0 && same?.term !== file.lastEntryTerm) throw parted(copy, file.lastIndex);
      const entries = body.entries.filter(({ index }) => index > file.lastIndex);
      if (entries.length === 0) throw parted(copy, file.lastIndex + 1);
      await file.appendAll(entries);
    }
    platform.logger.for("ledger").info("took over what only the copy had", { lastIndex: file.lastIndex });
  } finally {
    peer.close("taken over");
  }
}

function parted(copy: LedgerMember, index: number): BrineError {
  return new BrineError("badChecksum", `this ledger and its copy at ${copy.address} have parted at entry ${index}`, {
    advice: "one of the two was replaced by an older one: start this server with an empty directory, as the copy",
  });
}
