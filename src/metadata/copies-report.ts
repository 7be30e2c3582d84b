/** What `brine status` says of the ledger's copies, and where clients and stores find the leader. */

import { needsLeave } from "../ledger/copies/ballot.ts";
import type { CopiedLedger } from "../ledger/copies/copied-ledger.ts";
import type { Address } from "../platform/network.ts";

export interface CopiesReport {
  /** For people: `one copy`, or where the second one is, and how it is. */
  readonly text: string;
  readonly problems: readonly string[];
  /** Where leader and copy are. Empty: only here. */
  readonly addresses: readonly Address[];
  /** Calls when the addresses have changed. */
  onAddresses(callback: () => void): void;
  /** A server without metadata that is online: it may be made the witness. */
  offer(server: { serverId: string; address: Address }): void;
}

export const oneCopy: CopiesReport = {
  text: "one copy",
  problems: [],
  addresses: [],
  onAddresses: () => {},
  offer: () => {},
};

export function copiesReport(ledger: CopiedLedger, serverId: string): CopiesReport {
  return {
    get text() {
      return textOf(ledger, serverId);
    },
    get problems() {
      return problemsOf(ledger, serverId);
    },
    get addresses() {
      return ledger.configuration?.copies.map(({ address }) => address) ?? [];
    },
    onAddresses(callback) {
      ledger.onCopies = callback;
    },
    offer(server) {
      const { configuration } = ledger;
      if (configuration?.witness !== undefined || ledger.copyState !== "in step") return;
      ledger.appointWitness(server).catch(() => {});
    },
  };
}

function textOf(ledger: CopiedLedger, serverId: string): string {
  const { configuration, copyState, copyIndex, lastIndex } = ledger;
  const copy = configuration?.copies.find((one) => one.serverId !== serverId);
  if (configuration === undefined || copy === undefined) return "one copy";
  const { witness, rule } = configuration;
  const progress = copyIndex !== undefined && copyState === "following" ? ` (${copyIndex} of ${lastIndex})` : "";
  const third = witness === undefined ? "no witness" : `witness ${witness.address}`;
  const state = copyState === "in step" ? "two copies" : "ONE COPY";
  return `${state}, the second at ${copy.address}: ${copyState}${progress}; ${third}; ${rule}`;
}

function problemsOf(ledger: CopiedLedger, serverId: string): string[] {
  const { configuration, copyState } = ledger;
  const copy = configuration?.copies.find((one) => one.serverId !== serverId);
  if (configuration === undefined || copy === undefined) return [];
  const problems: string[] = [];
  if (copyState !== "in step") {
    const what = copyState === "away" ? "can't be reached: start its server again" : "is brought up to date";
    // It is known to have everything: nothing is acknowledged without it.
    const waits = configuration.rule === "required" && configuration.inStep.length > 1;
    const effect = waits ? "Changes wait for the ledger's copy" : "The metadata runs on one copy";
    problems.push(`${effect}: the second one at ${copy.address} ${what}.`);
  }
  const { witness } = configuration;
  if (witness !== undefined && !ledger.isConnected(witness.serverId)) {
    problems.push(`The witness of the ledger at ${witness.address} can't be reached. Start its server again.`);
  }
  if (witness === undefined && !needsLeave(configuration)) {
    problems.push("A promotion of the ledger's copy couldn't be proved right: there is no third server as witness.");
  }
  return problems;
}
