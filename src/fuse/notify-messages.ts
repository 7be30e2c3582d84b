/** Messages to the kernel that it has not asked for: `unique` is 0, and the code stands in the place of the error. */
import { putU64 } from "./layout.ts";
import { invalInodeOut, notifyCode, outHeader } from "./protocol.ts";

/** FUSE_NOTIFY_INC_EPOCH. */
export function incEpoch(): Buffer {
  const message = Buffer.alloc(outHeader.bytes);
  message.writeUInt32LE(message.byteLength, outHeader.length);
  message.writeInt32LE(notifyCode.INC_EPOCH, outHeader.error);
  return message;
}

/** Of the node's attributes only. */
export function attributeInvalidation(node: number): Buffer {
  return invalidation(node, -1n);
}

/** All pages of the node, and its attributes. */
export function pageInvalidation(node: number): Buffer {
  return invalidation(node, 0n);
}

/** struct fuse_notify_inval_inode_out: of all pages from `offset` on; below 0 only of attributes. */
function invalidation(node: number, offset: bigint): Buffer {
  const message = Buffer.alloc(outHeader.bytes + invalInodeOut.bytes);
  message.writeUInt32LE(message.byteLength, outHeader.length);
  message.writeInt32LE(notifyCode.INVAL_INODE, outHeader.error);
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  putU64(view, outHeader.bytes + invalInodeOut.node, node);
  message.writeBigInt64LE(offset, outHeader.bytes + invalInodeOut.offset);
  return message;
}
