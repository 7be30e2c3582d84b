/**
 * The disk of one store hangs for longer than anyone waits: writers go on with the other store after a pause, without an
 * error, and the store catches up when its disk answers again. A frozen file system (fsfreeze(8)) is what a disk looks like
 * that doesn't answer: writes and syncs just don't return.
 */
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, hasProgram, shell, undo, waitFor, whyNoMount } from "./cluster.ts";

const programs = ["mkfs.ext4", "fsfreeze"].filter((name) => !hasProgram(name));
const skip = whyNoMount() ?? (programs.length > 0 ? `not installed: ${programs.join(", ")}` : false);
const deadlineMs = 30_000;
const pieceBlocks = 20;

test("a store's disk hangs: writers go on with the other store, and it catches up afterwards", {
  skip,
}, async (context) => {
  let frozen = "";
  const cluster = await Cluster.start(context, {
    servers: 3,
    metadataAlone: true,
    prepare: async (index, path) => {
      if (index !== 2) return;
      frozen = path;
      await shell(
        `truncate -s 1G ${path}.img && mkfs.ext4 -q ${path}.img && mkdir -p ${path} && mount -o loop ${path}.img ${path}`,
      );
      undo(context, () => shell(`fsfreeze --unfreeze ${path} || true; umount -l ${path}`));
    },
  });
  const mount = await cluster.mount("mnt");
  const [file, original] = [join(mount.point, "file"), join(cluster.directory, "original")];
  await shell(`head -c ${3 * pieceBlocks * 4096} /dev/urandom > ${original}`);
  /** Each block is written and synced by itself. */
  const writePiece = (piece: number) =>
    shell(
      `dd if=${original} of=${file} bs=4096 count=${pieceBlocks} skip=${piece * pieceBlocks} seek=${piece * pieceBlocks} conv=notrunc oflag=dsync status=none`,
    );
  await writePiece(0);
  await shell(`fsfreeze --freeze ${frozen}`);
  const startedMs = performance.now();
  await writePiece(1);
  const tookMs = performance.now() - startedMs;
  context.diagnostic(`${pieceBlocks} synced writes took ${tookMs.toFixed(0)} ms from the moment of the stall`);
  const isNamed = async () =>
    (await cluster.status()).problems.some((problem: string) => /^Store \d+ .*(does not answer|offline)/.test(problem));
  await waitFor("status to name the disk", isNamed, deadlineMs);
  await writePiece(2);
  await shell(`fsfreeze --unfreeze ${frozen}`);
  await cluster.waitInSync();

  await cluster.killServer(1);
  await shell(`echo 3 > /proc/sys/vm/drop_caches; cmp ${original} ${file}`);
  await mount.unmount();
  const again = await cluster.mount("again");
  await shell(`cmp ${original} ${join(again.point, "file")}`);
});
