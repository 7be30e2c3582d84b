/** A session that ends at its client before the leader knows: others need not wait until its time is over. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { readStatus } from "../wire/catalogue/admin.ts";
import { KnownLeaders } from "../wire/known-leaders.ts";
import { noLedger } from "../wire/known-term.ts";
import type { KernelCaches } from "./file-system.ts";
import { MountSession } from "./mount-session.ts";
import { keepPrivileges, makeFile, TestCluster } from "./testing/test-cluster.ts";
import { Operation } from "./waits.ts";

/** A kernel that takes its time for pages. */
class SlowKernel implements KernelCaches {
  readonly gate = Promise.withResolvers<void>();
  forgotten = 0;

  forgetNames(): void {}
  forgetAttributes(): void {}
  mayHavePages(): boolean {
    return true;
  }
  settled(): undefined {}
  async forgetPages(): Promise<void> {
    this.forgotten += 1;
    await this.gate.promise;
  }
}

test("the leader learns that a session is over, but not before the kernel has forgotten", async (context) => {
  const cluster = await TestCluster.start(context);
  const { platform } = cluster;
  const other = await cluster.mount();
  const handle = await makeFile(other, "shared");
  await other.write(handle, 0, Buffer.from("old"), keepPrivileges);
  await other.sync(handle);
  const { inode } = handle;

  const kernel = new SlowKernel();
  const fenced = await MountSession.open(platform, {
    ...{
      leaders: new KnownLeaders(cluster.leaders),
      volume: "home",
      host: "fenced",
      known: noLedger,
      clusterId: undefined,
    },
    ...{ patienceMs: 5_000, wanted: () => true, caches: () => kernel, waits: () => [] },
  });
  const sessions = async () => (await cluster.ask(readStatus, {})).sessions.map(({ host }) => host);
  await fenced.leases.batches.acquire([inode], "shared", new Operation("read", inode, platform.clock.nowMs()));
  assert.ok((await sessions()).includes("fenced"));

  const begunMs = platform.clock.nowMs();
  fenced.session.end("fenced, says a store");
  await new Promise((resolve) => platform.clock.startTimer(300, () => resolve(undefined)));
  assert.equal(kernel.forgotten, 1);
  assert.ok((await sessions()).includes("fenced"), "the kernel still shows what the session was told");

  kernel.gate.resolve();
  await other.write(handle, 0, Buffer.from("new"), keepPrivileges);
  await other.sync(handle);
  assert.ok(platform.clock.nowMs() - begunMs < 3_000, "others waited for the session's time");
  assert.ok(!(await sessions()).includes("fenced"));
});
