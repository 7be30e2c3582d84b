/** Places at which a test stands between the code under test and its surroundings, to plant bugs that checkers must find. */
import type { FileSystem } from "../client/file-system.ts";
import type { Platform } from "../platform/platform.ts";
import type { Service } from "../wire/service.ts";

export interface Hooks {
  /** What a process gets as its platform. */
  readonly platform?: (host: string, platform: Platform) => Platform;
  /** The table of methods of a server that is being started. */
  readonly service?: (server: string) => Service;
  /** What applications get as their mount. */
  readonly fileSystem?: (client: string, fileSystem: FileSystem) => FileSystem;
}
