/** All tables of one namespace over one state. */
import type { CountedState } from "../state.ts";
import { ChunkTable } from "./chunk-table.ts";
import { EntryTable } from "./entry-table.ts";
import { GroupTable } from "./group-table.ts";
import { HeaderRow } from "./header.ts";
import { InodeTable } from "./inode-table.ts";
import { PlacementTable } from "./placement-table.ts";
import { QuotaTable } from "./quota-table.ts";
import { SessionTable } from "./session-table.ts";
import { VolumeTable } from "./volume-table.ts";

export class Tables {
  readonly header: HeaderRow;
  readonly inodes: InodeTable;
  readonly entries: EntryTable;
  readonly chunks: ChunkTable;
  readonly sessions: SessionTable;
  readonly volumes: VolumeTable;
  readonly quotas: QuotaTable;
  readonly groups: GroupTable;
  readonly placements: PlacementTable;

  constructor(state: CountedState) {
    this.header = new HeaderRow(state);
    this.quotas = new QuotaTable(state);
    this.inodes = new InodeTable(state, this.quotas);
    this.entries = new EntryTable(state);
    this.chunks = new ChunkTable(state, this.header);
    this.sessions = new SessionTable(state);
    this.volumes = new VolumeTable(state);
    this.groups = new GroupTable(state);
    this.placements = new PlacementTable(state);
  }

  /** Writes what the tables hold back until the end of a batch. */
  flush(): void {
    this.sessions.flush();
    this.volumes.flush();
    this.quotas.flush();
    this.header.flush();
  }
}
