/** A batch of transactions as bytes: the content of one ledger entry. Its format is that of `list(transaction)`. */
import { Writer } from "../codec/buffers.ts";
import { decode, list } from "../codec/schema.ts";
import { type Transaction, transaction } from "../namespace/operation.ts";

/** Bound of the ledger for one entry. */
export const batchBytesMax = 1024 * 1024;
/** Enough to share one sync among everyone who waits; few enough that applying them takes some tens of milliseconds. */
export const batchTransactionsMax = 4096;
/** The largest: setExtendedAttribute with a value of 64 KiB. */
const transactionBytesMax = 72 * 1024;

const batchCodec = list(transaction, batchTransactionsMax);
const writer = new Writer(batchBytesMax);

/** The bytes of as many of the transactions as fit, at least one, and how many these are. */
export function encodeBatch(transactions: Iterable<Transaction>): { batch: Uint8Array; count: number } {
  writer.reset();
  writer.u32(0);
  let count = 0;
  for (const one of transactions) {
    const before = writer.length;
    transaction.write(writer, one);
    if (writer.length - before > transactionBytesMax) throw new RangeError(`${one.operation.kind} is too large`);
    count += 1;
    if (count === batchTransactionsMax || writer.length > batchBytesMax - transactionBytesMax) break;
  }
  writer.patchU32(0, count);
  return { batch: writer.finish(), count };
}

export function decodeBatch(batch: Uint8Array): Transaction[] {
  return decode(batchCodec, batch);
}
