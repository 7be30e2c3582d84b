/** Changes of files within quotas: what they need is obtained before, and a write that doesn't fit as a whole is made shorter. */
import { FileError } from "../../errors/file-error.ts";
import { blockBytes, chunkBytes, type InodeRecord } from "../../namespace/model.ts";
import { accountOf, addedBy } from "../../namespace/usage.ts";
import { LackingQuota, type QuotaGrants } from "../quota-grants.ts";
import { ifItFails, type Soon } from "../soon.ts";
import type { Operation } from "../waits.ts";
import type { FileContent } from "./file-content.ts";

/** Runs an attempt to change something, and once more after what it lacked of quotas was obtained. Errors: EDQUOT. */
export function withinQuota<T>(quotas: QuotaGrants, operation: Operation, attempt: () => Soon<T>): Soon<T> {
  return ifItFails(attempt, (error) => {
    if (!(error instanceof LackingQuota)) throw error;
    return quotas.obtain(error, operation).then(() => withinQuota(quotas, operation, attempt));
  });
}

/**
 * How many of the bytes of a write fit into the quotas of the file's account, after they were asked for: all, or those up to the
 * last block that fits. The map is loaded up to the last byte. Errors: EDQUOT if not even the first block does.
 */
export function fittingBytes(
  quotas: QuotaGrants,
  content: FileContent,
  start: number,
  length: number,
  operation: Operation,
): Soon<number> {
  if (!quotas.isActive) return length;
  const { record } = content.node;
  const account = accountOf(record);
  const needed = (bytes: number): number => addedBy(record, afterWrite(content, record, start, start + bytes)).bytes;
  const wanted = needed(length);
  if (wanted === 0 || wanted <= quotas.availableBytes(account)) return length;
  const obtaining = quotas.obtain(new LackingQuota(account, { bytes: wanted, inodes: 0 }), operation);
  return ifItFails<number>(
    () => obtaining.then(() => length),
    (error) => {
      if (!(error instanceof FileError) || error.code !== "EDQUOT") throw error;
      const available = quotas.availableBytes(account);
      const firstEnd = (Math.floor(start / blockBytes) + 1) * blockBytes;
      // Blocks behind the first that fit: what is needed grows with each.
      let [low, high] = [0, Math.ceil(length / blockBytes)];
      const bytesOf = (blocks: number): number => Math.min(length, firstEnd + blocks * blockBytes - start);
      if (needed(bytesOf(0)) > available) throw error;
      while (low < high) {
        const middle = Math.ceil((low + high) / 2);
        if (needed(bytesOf(middle)) <= available) low = middle;
        else high = middle - 1;
      }
      return bytesOf(low);
    },
  );
}

/** Sets aside what a write adds, until what is returned is called. Errors: EDQUOT. */
export function reserveForWrite(
  quotas: QuotaGrants,
  content: FileContent,
  range: { readonly from: number; readonly to: number },
  operation: Operation,
): Soon<() => void> {
  if (!quotas.isActive) return () => {};
  return withinQuota(quotas, operation, () => {
    const { record } = content.node;
    return quotas.reserve(accountOf(record), addedBy(record, afterWrite(content, record, range.from, range.to)));
  });
}

function afterWrite(content: FileContent, record: InodeRecord, start: number, end: number): InodeRecord {
  let { size, chunkCount } = record.attributes;
  for (let index = Math.floor(start / chunkBytes); index * chunkBytes < end; index++) {
    if (content.map.get(index) === undefined) chunkCount += 1;
  }
  size = Math.max(size, end);
  return { ...record, attributes: { ...record.attributes, size, chunkCount } };
}
