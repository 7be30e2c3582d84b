/** Leases, holds and advisory locks, for each volume apart: inode numbers mean nothing across volumes. */
import { Holds } from "./holds.ts";
import { Leases, type LeasesParts } from "./leases.ts";
import { Locks, type LocksParts } from "./locks.ts";

export interface VolumeHoldings {
  readonly leases: Leases;
  readonly holds: Holds;
  readonly locks: Locks;
}

/** Whether anyone uses the inode, or may: it must not be reaped. */
export function isInUse({ leases, holds }: VolumeHoldings, inode: number): boolean {
  return leases.isWanted(inode) || holds.isHeld(inode);
}

export class Holdings {
  readonly #parts: LeasesParts & LocksParts;
  readonly #volumes = new Map<number, VolumeHoldings>();

  constructor(parts: LeasesParts & LocksParts) {
    this.#parts = parts;
  }

  of(volume: number): VolumeHoldings {
    let holdings = this.#volumes.get(volume);
    if (holdings === undefined) {
      holdings = { leases: new Leases(this.#parts), holds: new Holds(), locks: new Locks(this.#parts) };
      this.#volumes.set(volume, holdings);
    }
    return holdings;
  }
}
