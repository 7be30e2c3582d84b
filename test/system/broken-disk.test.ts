/**
 * The disk of one store fails or becomes slow, as its process sees it: strace(1) makes system calls on the store's segments
 * return an error, or take longer. Applications see no error, and `brine status` says what is wrong.
 */
import { strict as assert } from "node:assert";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Cluster, hasProgram, type Mount, Program, runBrine, shell, waitFor, whyNoMount } from "./cluster.ts";

const programs = ["strace", "python3"].filter((name) => !hasProgram(name));
const skip = whyNoMount() ?? (programs.length > 0 ? `not installed: ${programs.join(", ")}` : whyNoTrace());
const deadlineMs = 30_000;
const writes = "pwrite64,pwritev,pwritev2,fdatasync,fsync";
const reads = "pread64,preadv,preadv2";

test("a durable write fails once: the store steps down, nothing is lost, and it comes back after a restart", {
  skip,
}, async (context) => {
  const { cluster, mount } = await start(context);
  const [file, original] = [join(mount.point, "file"), join(cluster.directory, "original")];
  await shell(
    `head -c 2M /dev/urandom > ${original}; dd if=${original} of=${file} bs=64K count=8 conv=fsync status=none`,
  );
  const fault = await inject(context, cluster, `${writes}:error=EIO:when=1`);
  await shell(`dd if=${original} of=${file} bs=64K skip=8 seek=8 conv=notrunc oflag=dsync status=none`);
  const problem = async () =>
    (await cluster.status()).problems.find((one: string) => one.includes("failed disk")) as string | undefined;
  await waitFor("status to name the disk", async () => (await problem()) !== undefined, deadlineMs);
  await end(fault);

  // The disk is whole again; what it lost meanwhile nobody knows.
  await shell(`cmp ${original} ${file}; touch ${file} && sync ${file}`);
  assert.match((await problem())!, /EIO.*one copy less/, "it does not come back by itself");
  await cluster.killServer(2);
  await cluster.startServer(2);
  await cluster.waitInSync();
  await readFrom(cluster, 2, mount, original);
});

test("a disk can't read one place: the other copy is read, and the place is written anew", {
  skip,
}, async (context) => {
  const { cluster, mount } = await start(context);
  const original = join(cluster.directory, "original");
  await shell(`head -c 8M /dev/urandom > ${original}; cp ${original} ${mount.point}/file`);
  await mount.unmount();
  const fault = await inject(context, cluster, `${reads}:error=EIO:when=1`);
  const again = await cluster.mount("again");
  await shell(`cmp ${original} ${again.point}/file`);
  const isRepaired = async () =>
    (await cluster.status()).servers.some((one: { repairedBlocks: number }) => one.repairedBlocks > 0);
  await waitFor("the repair to be counted", isRepaired, deadlineMs);
  await end(fault);
  await readFrom(cluster, 2, again, original);
});

test("a slow disk: status says so, reads avoid it, and it comes back", { skip }, async (context) => {
  const { cluster, mount } = await start(context);
  const original = join(cluster.directory, "original");
  await shell(
    `head -c 2M /dev/urandom > ${original} && cp ${original} ${mount.point}/file && sync ${mount.point}/file`,
  );
  const fault = await inject(context, cluster, `${reads},${writes}:delay_enter=300ms`);
  const isSlow = async () => (await cluster.status()).servers.some(({ isSlow }: { isSlow: boolean }) => isSlow);
  const write = () => shell(`dd if=${original} of=${mount.point}/other bs=4k count=4 oflag=dsync status=none`);
  await waitFor(
    "status to call it slow",
    async () => {
      await write();
      return await isSlow();
    },
    deadlineMs,
  );
  const startedMs = performance.now();
  await shell(`dd if=${mount.point}/file bs=4k iflag=direct status=none | cmp - ${original}`);
  const tookMs = performance.now() - startedMs;
  context.diagnostic(`512 reads took ${tookMs.toFixed(0)} ms`);
  assert.ok(tookMs < 512 * 0.125 * 300, "fewer than one in eight waited for the slow disk");
  await end(fault);
  await waitFor(
    "it to be quick again",
    async () => {
      await write();
      return !(await isSlow());
    },
    deadlineMs,
  );
});

test("a store that is called slow by hand is not read at all: it may even stand still", { skip }, async (context) => {
  const { cluster, mount } = await start(context);
  const original = join(cluster.directory, "original");
  await shell(
    `head -c 8M /dev/urandom > ${original} && cp ${original} ${mount.point}/file && sync ${mount.point}/file`,
  );
  const leader = cluster.addresses[0]!;
  const slow = await runBrine(["store", "slow", cluster.addresses[1]!, leader]);
  assert.equal(slow.code, 0, slow.stderr);
  await cluster.stopServer(0);
  await cluster.startServer(0);
  const fresh = await cluster.mount("fresh");
  await cluster.waitOnline(2);
  assert.match((await runBrine(["store", "list", leader])).stdout, /online, called slow/);
  cluster.servers[1]!.signal("SIGSTOP");
  await shell(`cmp ${original} ${fresh.point}/file`);
  // Nobody has had to find out: the leader still believes what it was told last.
  const { servers } = await cluster.status();
  cluster.servers[1]!.signal("SIGCONT");
  assert.ok(servers.every(({ state }: { state: string }) => state === "online"));
  assert.equal((await runBrine(["store", "slow", cluster.addresses[1]!, "--off", leader])).code, 0);
  assert.doesNotMatch((await runBrine(["status", leader])).stdout, /called slow/);
});

async function start(context: TestContext): Promise<{ cluster: Cluster; mount: Mount }> {
  const cluster = await Cluster.start(context, { servers: 3, metadataAlone: true });
  return { cluster, mount: await cluster.mount("mnt") };
}

/** Only this server's store is left to read the file from. */
async function readFrom(cluster: Cluster, server: 1 | 2, mount: Mount, original: string): Promise<void> {
  await mount.unmount();
  await cluster.killServer(3 - server);
  const alone = await cluster.mount("alone");
  await shell(`cmp ${original} ${alone.point}/file`);
}

/** From now on the calls on the segments of the third server's store are as `fault` says. */
async function inject(context: TestContext, cluster: Cluster, fault: string): Promise<Program> {
  const { pid } = (await cluster.status()).servers.find(
    ({ address }: { address: string }) => address === cluster.addresses[2],
  );
  const segments = join(cluster.data(2), "store", "segments");
  const paths = readdirSync(segments).flatMap((name) => ["-P", join(segments, name)]);
  assert.ok(paths.length > 0, `no segments in ${segments}`);
  const args = ["-f", "-p", String(pid), ...paths, "-e", `trace=${fault.split(":")[0]}`, "-e", `inject=${fault}`];
  const log = join(cluster.directory, "strace.log");
  const program = new Program(context, "strace", args, log);
  await waitFor("strace to be attached", () => /attached/.test(program.log()));
  return program;
}

async function end(fault: Program): Promise<void> {
  await fault.stop("SIGINT");
}

function whyNoTrace(): string | false {
  return process.getuid?.() === 0 ? false : "another process can't be traced: run as root";
}
