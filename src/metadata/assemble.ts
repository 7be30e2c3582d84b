/** Puts the parts of a metadata server together. */
import { recallLease } from "../wire/catalogue/leader.ts";
import type { Peer } from "../wire/peer.ts";
import { Admin, type OwnIdentity } from "./admin.ts";
import { Ending } from "./ending.ts";
import { Grants } from "./grants.ts";
import { Groups } from "./groups.ts";
import { Holdings } from "./holdings.ts";
import type { Leader } from "./leader.ts";
import type { Parts } from "./methods.ts";
import { Queries } from "./queries.ts";
import { Reaper } from "./reaper.ts";
import { Sessions } from "./sessions.ts";
import type { SpaceGuard } from "./space-guard.ts";
import { StoreReports } from "./store-reports.ts";
import { Stores } from "./stores.ts";
import { Transactions } from "./transactions.ts";

/** @param options.term the ledger's, which is higher with every start */
export function assemble(leader: Leader, options: { own: OwnIdentity; term: number; space: SpaceGuard }): Parts {
  const { own, term, space } = options;
  const { lifetime, waits, timeouts } = leader;
  // Some parts ask others that are made after them; the calls come later.
  const recall = (session: number, inode: number) => {
    const peer = sessions.get(session)?.peer;
    const timeoutMs = timeouts.clientAnswerMs;
    peer?.request(recallLease, { inode }, { timeoutMs, urgent: true }).catch(() => {});
  };
  const grants = new Grants(term);
  const holdings = new Holdings({ lifetime, waits, grants, recall, recallAgainMs: timeouts.recallAgainMs });
  const stores: Stores = new Stores(leader, {
    onChange: () => groups.look(),
    settled: () => groups.settled(),
    isMounted: () => sessions.all().length > 0,
  });
  const clients = (): Peer[] => sessions.all().flatMap(({ peer }) => (peer === undefined ? [] : [peer]));
  const groups: Groups = new Groups({ leader, stores, clients });
  const ending = new Ending({
    leader,
    stores,
    groups,
    holdings,
    whenAnswered: (session) => transactions.whenAnswered(session),
  });
  const sessions: Sessions = new Sessions(leader, holdings, {
    end: (session) => ending.end(session),
    onGone: (session) => transactions.drop(session),
    onFewer: () => reaper.look(),
  });
  const reaper: Reaper = new Reaper({ leader, stores, sessions, holdings });
  const transactions: Transactions = new Transactions(leader, holdings, () => reaper.look());
  const queries = new Queries(leader, holdings, stores);
  const reports = new StoreReports(leader, stores, groups);
  const admin = new Admin({ leader, own, stores, groups, sessions, holdings, reaper, space });
  return { leader, sessions, transactions, queries, holdings, stores, groups, reports, reaper, admin };
}

/** They take over what is in the state, and begin their work. */
export function startParts({ sessions, stores, groups, reaper }: Parts): void {
  sessions.start();
  stores.start();
  groups.start();
  reaper.start();
}
