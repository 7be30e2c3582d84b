/** A client believes no leader whose term is below that of another one it has met: not even that its session has ended. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { BrineError } from "../errors/brine-error.ts";
import { realPlatform } from "../platform/real.ts";
import { heartbeat, lifeline, openSession, stateHoldings } from "../wire/catalogue/leader.ts";
import { listenPeers } from "../wire/listen.ts";
import { Service } from "../wire/service.ts";
import { Session } from "./session.ts";

const volume = {
  ...{ volume: 1, name: "home", replicas: 1, inSyncMin: 1, root: 1, createdNs: 0n, deleted: false },
  ...{ inodeCount: 1, chunkCount: 0, quotaVersion: 0 },
};

test("an outdated leader can't end a session", async (context) => {
  const lines: string[] = [];
  const platform = realPlatform({ logLevel: "info", logTo: (line) => lines.push(line) });
  let stated = 0;
  /** `knows`: it has the session. */
  const lead = (address: string, term: number, knows: boolean) => {
    const expired = () => new BrineError("sessionExpired", "not known here");
    const service = new Service()
      .handle(openSession, () => ({
        ...{ session: 7, lastSequence: 0, volume, coverGrant: 1, nowNs: 0n, leaders: [] },
        sessionTimeoutMs: 10_000,
      }))
      .handle(stateHoldings, () => {
        if (!knows) throw expired();
        stated += 1;
        return { quotaVersion: 0 };
      })
      .handle(heartbeat, () => ({ nowNs: 0n, writeThrough: false }))
      .handle(lifeline, () => ({}));
    return listenPeers(platform, address, {
      identity: () => ({ clusterId: "c", serverId: `t${term}`, term }),
      service,
    });
  };
  const until = async (what: string, condition: () => boolean) => {
    for (let left = 500; !condition(); left--) {
      assert.ok(left > 0, what);
      await new Promise((resolve) => platform.clock.startTimer(10, () => resolve(undefined)));
    }
  };

  const first = await lead("127.0.0.1:0", 5, true);
  const lost: string[] = [];
  const options = {
    ...{ leaders: [first.address], volume: "home", host: "test", term: 0, clusterId: undefined },
    ...{ service: new Service(), patienceMs: 5_000, wanted: () => true },
  };
  const owner = {
    holdings: () => ({ holds: [], leases: [], locks: [], quotas: [] }),
    connected: () => {},
    quotasChanged: () => {},
    extended: () => {},
    lost: async (reason: string) => void lost.push(reason),
  };
  const session = await Session.open(platform, options, owner);
  context.after(() => session.abandon());
  assert.equal(session.term, 5);

  await first.close();
  const outdated = await lead(first.address, 4, false);
  await until("the refusal", () => lines.some((line) => /outdated leader is refused/.test(line)));
  assert.deepEqual([lost, session.ended, session.peer], [[], false, undefined]);
  await outdated.close();

  const next = await lead(first.address, 6, true);
  context.after(() => next.close());
  await until("the next leader", () => session.peer !== undefined);
  assert.deepEqual([stated, session.term, session.ended], [2, 6, false]);
});
