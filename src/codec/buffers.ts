/**
 * Writer and Reader: the bytes under every format of brinefs (wire, ledger, segments, namespace records).
 * Integers are little-endian. The reader checks every length against what is left before it allocates.
 */

/** Bytes that are not what their format says. Callers drop the connection or report the record; they never go on. */
export class CodecError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CodecError";
  }
}

/** Appends values to a buffer that grows. Reusable after `reset`; `finish` copies out, `view` does not. */
export class Writer {
  #buffer: Buffer;
  #view: DataView;
  #length = 0;

  constructor(initialBytes = 256) {
    this.#buffer = Buffer.allocUnsafeSlow(initialBytes);
    this.#view = new DataView(this.#buffer.buffer, this.#buffer.byteOffset, this.#buffer.byteLength);
  }

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  reset(): void {
    this.#length = 0;
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#view.setUint8(this.#length, value);
    this.#length += 1;
  }

  u16(value: number): void {
    this.#reserve(2);
    this.#view.setUint16(this.#length, value, true);
    this.#length += 2;
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  /** A whole number from 0 to 2^53 − 1 in 8 bytes. */
  u64(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new CodecError(`not an unsigned 53-bit integer: ${value}`);
    this.#reserve(8);
    this.#view.setUint32(this.#length, value >>> 0, true);
    this.#view.setUint32(this.#length + 4, Math.floor(value / 0x1_0000_0000), true);
    this.#length += 8;
  }

  /** A signed 64-bit integer. */
  i64(value: bigint): void {
    this.#reserve(8);
    this.#view.setBigInt64(this.#length, value, true);
    this.#length += 8;
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.byteLength);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.byteLength;
  }

  latin1(value: string): void {
    this.#reserve(value.length);
    this.#buffer.write(value, this.#length, value.length, "latin1");
    this.#length += value.length;
  }

  /** Overwrites four bytes written before, for lengths known only afterwards. */
  patchU32(position: number, value: number): void {
    this.#view.setUint32(position, value, true);
  }

  /** The bytes written so far, valid until the next write or reset. */
  view(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** A copy of the bytes written so far. */
  finish(): Buffer {
    return Buffer.from(this.view());
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#buffer.byteLength) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.byteLength * 2));
    grown.set(this.view());
    this.#buffer = grown;
    this.#view = new DataView(grown.buffer, grown.byteOffset, grown.byteLength);
  }
}

/** Takes values from a buffer, in order. Throws CodecError where the bytes end too early. */
export class Reader {
  readonly #buffer: Buffer;
  readonly #view: DataView;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get position(): number {
    return this.#position;
  }

  get remaining(): number {
    return this.#buffer.byteLength - this.#position;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u64(): number {
    const at = this.#take(8);
    const high = this.#view.getUint32(at + 4, true);
    if (high > 0x1f_ffff) throw new CodecError("integer above 2^53");
    return high * 0x1_0000_0000 + this.#view.getUint32(at, true);
  }

  i64(): bigint {
    return this.#view.getBigInt64(this.#take(8), true);
  }

  /** A view (no copy) of the next `length` bytes. */
  raw(length: number): Buffer {
    const at = this.#take(length);
    return this.#buffer.subarray(at, at + length);
  }

  latin1(length: number): string {
    const at = this.#take(length);
    return this.#buffer.toString("latin1", at, at + length);
  }

  /** Throws unless every byte was taken. */
  end(): void {
    if (this.remaining !== 0) throw new CodecError(`${this.remaining} bytes too many`);
  }

  #take(count: number): number {
    const at = this.#position;
    if (at + count > this.#buffer.byteLength) throw new CodecError(`${count} bytes wanted, ${this.remaining} left`);
    this.#position = at + count;
    return at;
  }
}
