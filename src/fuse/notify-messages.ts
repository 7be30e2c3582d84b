/** Messages to the kernel that it has not asked for: `unique` is 0, and the code stands in the place of the error. */
import { putU64 } from "./layout.ts";
import { invalInodeOut, notifyCode, outHeader, storeOut } from "./protocol.ts";

/** FUSE_NOTIFY_INC_EPOCH. */
export function incEpoch(): Buffer {
  const message = Buffer.alloc(outHeader.bytes);
  message.writeUInt32LE(message.byteLength, outHeader.length);
  message.writeInt32LE(notifyCode.INC_EPOCH, outHeader.error);
  return message;
}

/** Of the node's attributes only. */
export function attributeInvalidation(node: number): Buffer {
  return invalidation(node, -1n, 0);
}

/** Of pages, and of the attributes. A length of 0 reaches to the end. */
export function pageInvalidation(node: number, offset: number | bigint, length: number): Buffer {
  return invalidation(node, BigInt(offset), length);
}

/** struct fuse_notify_inval_inode_out. An offset below 0 leaves pages alone. */
function invalidation(node: number, offset: bigint, length: number): Buffer {
  const message = Buffer.alloc(outHeader.bytes + invalInodeOut.bytes);
  message.writeUInt32LE(message.byteLength, outHeader.length);
  message.writeInt32LE(notifyCode.INVAL_INODE, outHeader.error);
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  putU64(view, outHeader.bytes + invalInodeOut.node, node);
  message.writeBigInt64LE(offset, outHeader.bytes + invalInodeOut.offset);
  putU64(view, outHeader.bytes + invalInodeOut.length, length);
  return message;
}

/** Zeros for a place of the file. The kernel takes it for at least as long as up to there. */
export function store(node: number, offset: bigint, length: number): Buffer {
  const message = Buffer.alloc(outHeader.bytes + storeOut.bytes + length);
  message.writeUInt32LE(message.byteLength, outHeader.length);
  message.writeInt32LE(notifyCode.STORE, outHeader.error);
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  putU64(view, outHeader.bytes + storeOut.node, node);
  message.writeBigInt64LE(offset, outHeader.bytes + storeOut.offset);
  message.writeUInt32LE(length, outHeader.bytes + storeOut.length);
  return message;
}
