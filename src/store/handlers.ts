/** The store's methods on the wire: who may, then the engine, then the answer. */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import type { MemberState } from "../namespace/model.ts";
import {
  catchUp,
  cloneChunk,
  deleteChunks,
  type Extent,
  equalize,
  fenceSession,
  findStored,
  leaveGroups,
  listBad,
  listChunks,
  listExtents,
  loseBlocks,
  mendBlock,
  readBlocks,
  reportBad,
  type StampedExtent,
  scrubStore,
  setGroups,
  writeBlocks,
} from "../wire/catalogue/store.ts";
import type { Peer } from "../wire/peer.ts";
import type { HandleOptions, Service } from "../wire/service.ts";
import type { Admission, Target } from "./admission.ts";
import type { CatchUps } from "./catch-up.ts";
import { isZeros, type StoredExtent } from "./extents.ts";
import type { Repair } from "./repair.ts";
import type { Scrub } from "./scrub.ts";
import type { Store } from "./store.ts";
import { writeParts } from "./write-parts.ts";

const inSync: readonly MemberState[] = ["inSync"];
const writable: readonly MemberState[] = ["inSync", "catchingUp"];

const byClients: HandleOptions = { roles: ["client"] };
const byClientsAndStores: HandleOptions = { roles: ["client", "store"] };
const byStores: HandleOptions = { roles: ["store"] };
const byLeader: HandleOptions = { roles: ["leader"] };

export interface HandlerParts {
  readonly store: Store;
  readonly admission: Admission;
  readonly catchUps: CatchUps;
  readonly repair: Repair;
  /** They are other ones, or in other generations. */
  readonly onGroups: () => void;
  readonly scrub: Scrub;
}

export function registerHandlers(service: Service, parts: HandlerParts): void {
  registerClientMethods(service, parts);
  registerLeaderMethods(service, parts);
  registerStoreMethods(service, parts);
}

function registerClientMethods(service: Service, { store, admission, catchUps, repair }: HandlerParts): void {
  service.handle(
    writeBlocks,
    async (body, payload) => {
      // If the disk is full the engine says so.
      if (!store.isReadyToWrite) await store.readyToWrite();
      admission.checkServing();
      admission.checkGroup(body.group, body.generation, writable);
      for (const { chunk } of body.parts) admission.checkChunk(chunk, body.group);
      const leave = admission.enter(body.session);
      try {
        return { failed: await writeParts(store, body, payload) };
      } finally {
        leave();
      }
    },
    { ...byClients, releasesPayload: true },
  );
  service.handle(
    readBlocks,
    async (body, _payload, peer) => {
      admission.checkTarget(body, inSync);
      const leave = enterReader(admission, body, peer);
      try {
        const { extents, payload } = await store.read(body.chunk, body.firstBlock, body.blockCount);
        return { body: { extents: extents.map(asExtent) }, payload: [payload] };
      } catch (error) {
        // The disk can't read it: others have it, and it is written anew elsewhere. The reader asks them meanwhile.
        if (hasCode(error, "diskFailed") && store.failure === undefined) void repair.repairUnreadable(body);
        throw error;
      } finally {
        leave();
      }
    },
    { ...byClientsAndStores, lendsPayload: true },
  );
  service.handle(
    findStored,
    (body) => {
      admission.checkTarget(body, inSync);
      const leave = admission.enter(body.session);
      try {
        return { ranges: rangesOf(extentsOf(store, body.chunk)) };
      } finally {
        leave();
      }
    },
    byClients,
  );
  service.handle(
    cloneChunk,
    async (body) => {
      admission.checkTarget(body, writable);
      admission.checkTarget({ ...body, chunk: body.source }, writable);
      const leave = admission.enter(body.session);
      try {
        const { chunk, source, blockCount, generation, session } = body;
        const tolerant = memberState(store, admission, body.group) === "catchingUp";
        const cloned = tolerant ? catchUps.cloning(body.group, chunk) : () => {};
        await store.clone({ chunk, source, blockCount, generation, session, tolerant }).finally(cloned);
      } finally {
        leave();
      }
      return {};
    },
    byClients,
  );
  service.handle(
    reportBad,
    async (body, _payload, peer) => {
      admission.checkTarget(body, inSync);
      const leave = enterReader(admission, body, peer);
      try {
        const bad = await store.findBad(body.chunk, body.firstBlock, body.blockCount);
        if (bad.length > 0) await repair.repair(body, bad);
      } finally {
        leave();
      }
      return {};
    },
    byClientsAndStores,
  );
}

function registerLeaderMethods(service: Service, { store, admission, catchUps, onGroups, scrub }: HandlerParts): void {
  service.handle(
    setGroups,
    async (body) => {
      await store.setGroups(body.views);
      onGroups();
      return {};
    },
    byLeader,
  );
  service.handle(
    leaveGroups,
    (body, _payload, peer) => {
      admission.leave(body.groups, peer);
      return {};
    },
    byLeader,
  );
  service.handle(
    fenceSession,
    async (body) => {
      await admission.fence(body.session);
      return {};
    },
    byLeader,
  );
  service.handle(
    scrubStore,
    (body) => {
      scrub.order(body.groups);
      return {};
    },
    byLeader,
  );
  service.handle(
    deleteChunks,
    async (body) => {
      admission.checkServing();
      catchUps.deleted(body.chunks);
      await store.deleteForGood(body.chunks);
      return {};
    },
    byLeader,
  );
  service.handle(
    catchUp,
    (body) => {
      admission.checkServing();
      admission.checkGroup(body.group, body.generation, ["catchingUp"]);
      catchUps.start(body.group, body.generation, body.source);
      return {};
    },
    byLeader,
  );
  service.handle(
    loseBlocks,
    async ({ group, generation, ranges }) => {
      admission.checkServing();
      admission.checkGroup(group, generation, ["catchingUp"]);
      for (const { chunk } of ranges) admission.checkChunk(chunk, group);
      // Its place in the log is that of its arrival: who deletes one of the chunks comes later.
      await store.discard({ kind: "lose", generation, ranges });
      return {};
    },
    byLeader,
  );
  service.handle(
    equalize,
    async (body) => {
      admission.checkServing();
      admission.checkGroup(body.group, body.generation, writable);
      return { copiedBlocks: await catchUps.equalize(body) };
    },
    byLeader,
  );
}

function registerStoreMethods(service: Service, { store, admission, repair }: HandlerParts): void {
  service.handle(
    listChunks,
    (body) => {
      admission.checkServing();
      admission.checkGroup(body.group, body.generation, inSync);
      return { chunks: store.listChunks(body.group, body.after, body.limit) };
    },
    byStores,
  );
  service.handle(
    listExtents,
    (body) => {
      admission.checkTarget({ ...body, session: 0 }, inSync);
      return { extents: extentsOf(store, body.chunk).map(asStampedExtent) };
    },
    byStores,
  );
  service.handle(
    listBad,
    ({ group, generation }) => {
      admission.checkServing();
      // Who was a member before has heard of an earlier generation, at best.
      const known = store.groups.get(group)?.generation ?? 0;
      const view = admission.checkGroup(group, Math.max(generation, known), inSync);
      return { view, blocks: store.badBlocks.ofGroup(group) };
    },
    byStores,
  );
  service.handle(
    mendBlock,
    async (body, payload) => {
      admission.checkTarget({ ...body, session: 0 }, inSync);
      return { isMended: await repair.mend(body, payload) };
    },
    byStores,
  );
}

/** Other members read without a session: the leader has told them to. */
function enterReader(admission: Admission, target: Target, peer: Peer): () => void {
  if (peer.remote.role === "store") return () => {};
  return admission.enter(target.session);
}

function extentsOf(store: Store, chunk: number): readonly StoredExtent[] {
  const state = store.chunk(chunk);
  if (state === undefined) throw new BrineError("unknownChunk", `chunk ${chunk} is not known here`);
  return state.extents;
}

/** Their blocks but zeros; those that lie one behind the other together. */
function rangesOf(extents: readonly StoredExtent[]): { firstBlock: number; blockCount: number }[] {
  const ranges: { firstBlock: number; blockCount: number }[] = [];
  for (const extent of extents) {
    if (isZeros(extent)) continue;
    const { firstBlock, checksums } = extent;
    const last = ranges.at(-1);
    if (last !== undefined && last.firstBlock + last.blockCount === firstBlock) last.blockCount += checksums.length;
    else ranges.push({ firstBlock, blockCount: checksums.length });
  }
  return ranges;
}

function memberState(store: Store, admission: Admission, group: number): MemberState | undefined {
  return store.groups.get(group)?.members.find((member) => member.store === admission.storeNumber)?.state;
}

function asStampedExtent(extent: StoredExtent): StampedExtent {
  const { generation, session } = extent.stamp;
  return { ...asExtent(extent), generation, session };
}

function asExtent(extent: StoredExtent): Extent {
  const { firstBlock, origin, stamp, checksums } = extent;
  return { firstBlock, version: stamp.version, origin, checksums: checksums as number[] };
}
