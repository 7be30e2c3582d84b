/** Terms under which servers lead the ledger, as messages have them. */
import { upTo } from "../../codec/schema.ts";

/**
 * Starts of the metadata server: one a second for three days, or one an hour for thirty years. Grant numbers have no room for more;
 * who promised a higher one to anybody could never lead again.
 */
export const termMax = 2 ** 18 - 1;

export const ledgerTerm = upTo(termMax);
