/** Whom a client believes that it leads, and where it looks: no leader whose term is below that of another one it has met. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { BrineError } from "../errors/brine-error.ts";
import type { Address } from "../platform/network.ts";
import { realPlatform } from "../platform/real.ts";
import { heartbeat, leadersChanged, stateHoldings } from "../wire/catalogue/leader.ts";
import { lifeline, openSession } from "../wire/catalogue/sessions.ts";
import { KnownLeaders } from "../wire/known-leaders.ts";
import { noLedger } from "../wire/known-term.ts";
import { listenPeers } from "../wire/listen.ts";
import type { Peer } from "../wire/peer.ts";
import { Service } from "../wire/service.ts";
import { Session } from "./session.ts";

const volume = {
  ...{ volume: 1, name: "home", replicas: 1, inSyncMin: 1, root: 1, createdNs: 0n, deleted: false },
  ...{ inodeCount: 1, chunkCount: 0, quotaVersion: 0 },
};

class Setup {
  readonly lines: string[] = [];
  readonly platform = realPlatform({ logLevel: "info", logTo: (line) => this.lines.push(line) });
  /** Times that a session was taken over. */
  stated = 0;
  readonly lost: string[] = [];
  /** What leaders answer of leader and copy. */
  named: Address[] = [];
  /** The session's connection to the last leader. */
  client: Peer | undefined;

  /** A leader; `knows`: it has the session. */
  lead(address: Address, term: number, knows = true) {
    const service = new Service()
      .handle(openSession, () => ({
        ...{ session: 7, lastSequence: 0, volume, coverGrant: 1, nowNs: 0n },
        sessionTimeoutMs: 10_000,
      }))
      .handle(stateHoldings, (_body, _payload, peer) => {
        if (!knows) throw new BrineError("sessionExpired", "not known here");
        this.stated += 1;
        this.client = peer;
        return { quotaVersion: 0, leaders: this.named };
      })
      .handle(heartbeat, () => ({ nowNs: 0n, writeThrough: false, ledgerTerm: 0, ledgerIndex: 0, leaders: this.named }))
      .handle(lifeline, () => ({}));
    const identity = () => ({ clusterId: "c", serverId: `t${term}`, term });
    return listenPeers(this.platform, address, { identity, service });
  }

  /** A server that doesn't lead, and knows of others as of a term. */
  follow(term: number, addresses: Address[]) {
    const identity = () => ({ clusterId: "c", serverId: "copy", keepers: { term, addresses } });
    return listenPeers(this.platform, "127.0.0.1:0", { identity, service: new Service() });
  }

  open(leaders: KnownLeaders): Promise<Session> {
    const options = {
      ...{ leaders, volume: "home", host: "test", known: noLedger, clusterId: undefined },
      ...{ service: new Service(), patienceMs: 5_000, wanted: () => true },
    };
    return Session.open(this.platform, options, {
      holdings: () => ({ holds: [], leases: [], locks: [], quotas: [] }),
      connected: () => {},
      quotasChanged: () => {},
      extended: () => {},
      lost: async (reason) => void this.lost.push(reason),
    });
  }

  async until(what: string, condition: () => boolean): Promise<void> {
    for (let left = 500; !condition(); left--) {
      assert.ok(left > 0, what);
      await new Promise((resolve) => this.platform.clock.startTimer(10, () => resolve(undefined)));
    }
  }
}

test("an outdated leader can't end a session", async (context) => {
  const setup = new Setup();
  const first = await setup.lead("127.0.0.1:0", 5);
  const session = await setup.open(new KnownLeaders([first.address]));
  context.after(() => session.abandon());
  assert.equal(session.known.term, 5);

  await first.close();
  const outdated = await setup.lead(first.address, 4, false);
  await setup.until("the refusal", () => setup.lines.some((line) => /outdated leader is refused/.test(line)));
  assert.deepEqual([setup.lost, session.ended, session.peer], [[], false, undefined]);
  await outdated.close();

  const next = await setup.lead(first.address, 6);
  context.after(() => next.close());
  await setup.until("the next leader", () => session.peer !== undefined);
  assert.deepEqual([setup.stated, session.known.term, session.ended], [2, 6, false]);
});

test("a client finds the leader through a server that doesn't lead, and a new copy as soon as there is one", async (context) => {
  const setup = new Setup();
  const first = await setup.lead("127.0.0.1:0", 5);
  const copy = await setup.follow(5, [first.address]);
  context.after(() => copy.close());
  const leaders = new KnownLeaders([copy.address]);
  setup.named = [first.address, "127.0.0.1:1"];
  const session = await setup.open(leaders);
  context.after(() => session.abandon());
  assert.equal(session.peer?.remote.address, first.address);
  assert.deepEqual(leaders.addresses, [...setup.named, copy.address]);

  const second = await setup.lead("127.0.0.1:0", 6);
  context.after(() => second.close());
  const request = { leaders: [first.address, second.address] };
  await setup.client!.request(leadersChanged, request, { timeoutMs: 5_000 });
  // The first one is lost before the next heartbeat.
  await first.close();
  await setup.until("the next leader", () => session.peer?.remote.address === second.address);
  assert.deepEqual([setup.stated, session.known.term, setup.lost], [2, 6, []]);
});
