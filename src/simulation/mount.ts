/** A mount as applications have it. */
import type { SimulatedKernel } from "./kernel.ts";

/** The mounting process was killed: what it was asked is never answered. */
export class MountDied extends Error {
  constructor(client: string) {
    super(`${client} was killed`);
    this.name = "MountDied";
  }
}

export interface Mount {
  /** Name of the client's incarnation: handles are its own. */
  readonly name: string;
  /** What applications talk to. */
  readonly kernel: SimulatedKernel;
  readonly root: number;
  /** How far the client is: of the session's changes, which is the last that was answered, and the last that is durable. */
  readonly positions?: () => { readonly session: number; readonly answered: number; readonly durable: number };
  /** Rejects with MountDied when the process is killed. */
  readonly death: Promise<never>;
}

/** Where applications find their mount. */
export interface MountPoint {
  mount(): Promise<Mount>;
  /** A mount that failed while its process lives is of no use: whoever has the machine starts another. */
  replace(mount: Mount): void;
}
