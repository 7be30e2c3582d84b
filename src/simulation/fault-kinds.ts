/** What can go wrong, and how often each of it does. */
import type { SimulatedRandom } from "./simulated-random.ts";

export const faultLevels = ["none", "some", "all"] as const;
export type FaultLevel = (typeof faultLevels)[number];

export const faultKinds = [
  "slowLink",
  "cutLink",
  "resetConnections",
  "lateBytes",
  "storeCrash",
  "leaderCrash",
  "leaderKill",
  "serversCrash",
  "everythingCrash",
  "clientCrash",
  "serverPause",
  "clientPause",
  "longClientPause",
  "isolation",
  "longClientIsolation",
  "diskStall",
  "longDiskStall",
  "slowDisk",
  "diskFull",
  "syncFailure",
  "indexDamage",
  "storeLoss",
  "machineLoss",
  "rot",
  "badSector",
] as const;
export type FaultKind = (typeof faultKinds)[number];

/** After these a disk doesn't answer, and all else is well. */
export const stalls: ReadonlySet<FaultKind> = new Set(["diskStall", "longDiskStall"]);
/** What strikes only where others have what is lost. */
export const countedWhenTheyStrike: ReadonlySet<FaultKind> = new Set([
  "indexDamage",
  "storeLoss",
  "machineLoss",
  "rot",
  "badSector",
]);
/** What leaves operations of clients without an end. */
export const clientEnds: ReadonlySet<FaultKind> = new Set([
  "clientCrash",
  "everythingCrash",
  "longClientPause",
  "longClientIsolation",
]);

export type FaultWeights = Readonly<Partial<Record<FaultKind, number>>>;

/** Of each level: how often which fault. `some` is what a well-kept cluster meets: networks and single crashes. */
export const weightsOf: Readonly<Record<FaultLevel, FaultWeights>> = {
  none: {},
  some: {
    slowLink: 3,
    resetConnections: 3,
    lateBytes: 1,
    cutLink: 2,
    storeCrash: 2,
    leaderCrash: 2,
    clientPause: 1,
    diskStall: 1,
  },
  all: {
    slowLink: 3,
    cutLink: 3,
    resetConnections: 3,
    lateBytes: 2,
    storeCrash: 3,
    leaderCrash: 3,
    serversCrash: 1,
    everythingCrash: 1,
    clientCrash: 4,
    serverPause: 2,
    clientPause: 2,
    longClientPause: 1,
    isolation: 2,
    longClientIsolation: 1,
    diskStall: 2,
    longDiskStall: 1,
    slowDisk: 1,
    diskFull: 1,
    syncFailure: 1,
    indexDamage: 1,
    storeLoss: 1,
    machineLoss: 1,
    rot: 2,
    badSector: 2,
  },
};

/**
 * Some of the kinds, with other weights: a simulation in which only two things go wrong, often, gets deeper than one in
 * which everything does ("swarm testing", Groce and others, 2012).
 */
export function varied(weights: FaultWeights, random: SimulatedRandom): FaultWeights {
  const kinds = Object.keys(weights) as FaultKind[];
  if (kinds.length === 0 || random.chance(0.3)) return weights;
  const kept = kinds.filter(() => random.chance(0.4));
  const chosen = kept.length > 0 ? kept : [random.pick(kinds)];
  return Object.fromEntries(chosen.map((kind) => [kind, random.between(1, 5)]));
}
