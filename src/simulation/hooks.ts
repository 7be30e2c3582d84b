/** Places at which a test stands between the code under test and its surroundings, to plant bugs that checkers must find. */
import type { FileSystem } from "../client/file-system.ts";
import type { Platform } from "../platform/platform.ts";
import type { Service } from "../wire/service.ts";
import type { LeaseLimits } from "./checkers/lease-bounds.ts";

export interface Hooks {
  /** What a process gets as its platform. */
  readonly platform?: (host: string, platform: Platform) => Platform;
  /** The table of methods of a server that is being started. */
  readonly service?: (server: string) => Service;
  /** How many leases clients and leader keep, of what they are meant to. */
  readonly leaseLimits?: (meant: LeaseLimits) => LeaseLimits;
  /** What applications get as their mount. */
  readonly fileSystem?: (client: string, fileSystem: FileSystem) => FileSystem;
}
