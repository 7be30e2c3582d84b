/**
 * System calls on a store's disk that fail; strace(1) makes them. A durable write fails once, and all that come after would succeed:
 * whether the failed one is on the disk nobody knows, so it must not be tried again until it works. The store steps down, says why,
 * and is compared with the others before anyone relies on it again. A read that fails is another copy's to answer.
 */
import { strict as assert } from "node:assert";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Cluster, hasProgram, Program, shell, waitFor, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? (hasProgram("strace") ? false : "not installed: strace");
const deadlineMs = 30_000;

/** The next one of these calls on the store's segments fails with EIO. */
async function failOnce(context: TestContext, cluster: Cluster, server: number, calls: string[]): Promise<Program> {
  const segments = join(cluster.data(server), "store", "segments");
  const paths = readdirSync(segments).flatMap((name) => ["-P", join(segments, name)]);
  const inject = ["-e", `trace=${calls}`, "-e", `inject=${calls}:error=EIO:when=1`];
  const args = ["-f", ...inject, ...paths, "-p", String(cluster.servers[server]!.pid), "-o", "/dev/null"];
  const tracer = new Program(context, "/usr/bin/strace", args, join(cluster.directory, `strace-${calls[0]}.log`));
  await waitFor("strace", () => tracer.log().includes("attached"));
  return tracer;
}

test("a durable write fails once: the store steps down, nothing is lost, and it comes back after a restart", {
  skip,
}, async (context) => {
  const cluster = await Cluster.start(context, { servers: 3, metadataAlone: true });
  const mount = await cluster.mount("mnt");
  const [file, original] = [join(mount.point, "file"), join(cluster.directory, "original")];
  await shell(
    `head -c 4M /dev/urandom > ${original}; dd if=${original} of=${file} bs=64K count=8 conv=fsync status=none`,
  );

  const tracer = await failOnce(context, cluster, 2, ["pwritev", "pwrite64"]);
  await shell(`dd if=${original} of=${file} bs=64K skip=8 seek=8 conv=fsync,notrunc status=none`);
  const problem = async () =>
    (await cluster.status()).problems.find((one: string) => one.includes("failed disk")) as string | undefined;
  await waitFor("status to name the disk", async () => (await problem()) !== undefined, deadlineMs);
  context.diagnostic((await problem())!);
  tracer.signal("SIGTERM");
  await tracer.ended;
  await shell(`cmp ${original} ${file}`);
  assert.match((await problem())!, /EIO.*one copy less/, "it does not come back by itself");

  await cluster.killServer(2);
  await cluster.startServer(2);
  await cluster.waitInSync();
  await cluster.killServer(1);
  await mount.unmount();
  const again = await cluster.mount("again");
  await shell(`cmp ${original} ${join(again.point, "file")}`);
});

test("a disk can't read one place: the other copy is read, and the place is written anew", {
  skip,
}, async (context) => {
  const cluster = await Cluster.start(context, { servers: 3, metadataAlone: true });
  const mount = await cluster.mount("mnt");
  const original = join(cluster.directory, "original");
  await shell(`head -c 8M /dev/urandom > ${original}; cp ${original} ${mount.point}/file`);
  await mount.unmount();
  const tracer = await failOnce(context, cluster, 2, ["pread64", "preadv"]);
  const again = await cluster.mount("again");
  await shell(`cmp ${original} ${again.point}/file`);
  const repaired = async () =>
    (await cluster.status()).servers.some((one: { repairedBlocks: number }) => one.repairedBlocks > 0);
  await waitFor("the repair to be counted", repaired, deadlineMs);
  tracer.signal("SIGTERM");
  await tracer.ended;
  await cluster.killServer(1);
  await again.unmount();
  const alone = await cluster.mount("alone");
  await shell(`cmp ${original} ${alone.point}/file`);
});
