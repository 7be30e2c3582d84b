/** `brine backup-metadata`: everything but the files' data, in one file, while the cluster is in use. */
import { Command } from "commander";
import { BrineError } from "../errors/brine-error.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { absolutePath, print } from "../platform/processes.ts";
import { backupMetadata } from "../wire/catalogue/admin.ts";
import { AdminConnection } from "./admin.ts";
import { BackupWriter } from "./metadata-backup.ts";
import { withCluster } from "./options.ts";
import { sizeText } from "./output.ts";
import { type ClusterOptions, findCluster } from "./running.ts";

export function backupMetadataCommand(): Command {
  return withCluster(new Command("backup-metadata").argument("<file>", "written; must not be there yet"))
    .description("Write a backup of the metadata (names, attributes, chunk maps; no file data) while it is in use.")
    .addHelpText("after", "\nExample:\n  brine backup-metadata /backup/brine-$(date +%F).backup 127.0.0.1:7411")
    .action(async (file: string, address: string | undefined, options: ClusterOptions) => {
      const { platform, addresses } = await findCluster(address, options);
      const { rows, bytes, index } = await backUp(platform, addresses, absolutePath(file));
      print(`${file}: ${rows} rows as of entry ${index} of the ledger, ${sizeText(bytes)}`);
    });
}

async function backUp(
  platform: Platform,
  addresses: readonly Address[],
  path: string,
): Promise<{ rows: number; bytes: number; index: number }> {
  const { disk } = platform;
  const directory = path.slice(0, path.lastIndexOf("/"));
  if ((await disk.list(directory)).includes(path.slice(directory.length + 1))) {
    throw new BrineError("exists", `${path} is there already`, {
      advice: "name a new file: old backups are worth keeping",
    });
  }
  const connection = new AdminConnection(platform, addresses);
  try {
    let page = await connection.ask(backupMetadata, { backup: 0, after: new Uint8Array(0) });
    const { clusterId, index, term, backup } = page;
    const file = await disk.open(path, { create: true });
    try {
      const madeNs = platform.clock.wallNs();
      const writer = await BackupWriter.begin(file, { clusterId, index, term, madeNs });
      for (;;) {
        await writer.add(page.rows);
        if (page.done) break;
        page = await connection.ask(backupMetadata, { backup, after: page.rows.at(-1)!.key });
      }
      await writer.end();
      await disk.syncDirectory(directory);
      return { rows: writer.rows, bytes: writer.bytes, index };
    } catch (error) {
      await disk.remove(path);
      throw error;
    } finally {
      await file.close();
    }
  } finally {
    connection.close();
  }
}
