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

/**
 * Appends values to a buffer that grows. One writer makes one piece of bytes after the other: `finish` copies a piece
 * out, `view` lends it, `take` hands it over; each `reset` or `take` starts the next.
 */
export class Writer {
  readonly #initialBytes: number;
  #buffer: Buffer;
  #view: DataView;
  /** Where the present piece begins: above 0 after `take`, which leaves the bytes before to their new owner. */
  #start = 0;
  #position = 0;

  constructor(initialBytes = 256) {
    this.#initialBytes = initialBytes;
    this.#buffer = Buffer.allocUnsafeSlow(initialBytes);
    this.#view = viewOf(this.#buffer);
  }

  /** Bytes of the present piece. */
  get length(): number {
    return this.#position - this.#start;
  }

  reset(): void {
    this.#position = this.#start;
  }

  u8(value: number): void {
    if ((value & 0xff) !== value) throw new CodecError(`not an unsigned 8-bit integer: ${value}`);
    this.#reserve(1);
    this.#buffer[this.#position] = value;
    this.#position += 1;
  }

  u16(value: number): void {
    if ((value & 0xffff) !== value) throw new CodecError(`not an unsigned 16-bit integer: ${value}`);
    this.#reserve(2);
    this.#view.setUint16(this.#position, value, true);
    this.#position += 2;
  }

  u32(value: number): void {
    if (value >>> 0 !== value) throw new CodecError(`not an unsigned 32-bit integer: ${value}`);
    this.#reserve(4);
    this.#view.setUint32(this.#position, value, true);
    this.#position += 4;
  }

  /** A whole number from 0 to 2^53 − 1 in 8 bytes. */
  u64(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new CodecError(`not an unsigned 53-bit integer: ${value}`);
    this.#reserve(8);
    this.#view.setUint32(this.#position, value >>> 0, true);
    this.#view.setUint32(this.#position + 4, Math.floor(value / 0x1_0000_0000), true);
    this.#position += 8;
  }

  /** A signed 64-bit integer. */
  i64(value: bigint): void {
    if (value > i64Max || value < i64Min) throw new CodecError(`not a signed 64-bit integer: ${value}`);
    this.#reserve(8);
    this.#view.setBigInt64(this.#position, value, true);
    this.#position += 8;
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.byteLength);
    this.#buffer.set(bytes, this.#position);
    this.#position += bytes.byteLength;
  }

  /** One byte a character. Throws CodecError for characters above 255. */
  latin1(value: string): void {
    const length = value.length;
    this.#reserve(length);
    if (length > shortText) {
      if (notLatin1.test(value)) throw new CodecError("a character above 255 in a byte string");
      this.#buffer.write(value, this.#position, length, "latin1");
    } else {
      for (let index = 0; index < length; index++) {
        const code = value.charCodeAt(index);
        if (code > 255) throw new CodecError("a character above 255 in a byte string");
        this.#buffer[this.#position + index] = code;
      }
    }
    this.#position += length;
  }

  /** UTF-8 with its length in four bytes before it. Throws CodecError above `maxBytes`. */
  utf8(value: string, maxBytes: number): void {
    // Each UTF-16 unit takes at most three bytes; far longer texts are refused before space is made for them.
    if (value.length > maxBytes)
      throw new CodecError(`a text of ${value.length} characters is above ${maxBytes} bytes`);
    this.#reserve(4 + value.length * 3);
    const bytes = this.#buffer.write(value, this.#position + 4, value.length * 3, "utf8");
    if (bytes > maxBytes) throw new CodecError(`length ${bytes} is above its bound ${maxBytes}`);
    this.#view.setUint32(this.#position, bytes, true);
    this.#position += 4 + bytes;
  }

  /** Overwrites four bytes written before, for lengths known only afterwards. */
  patchU32(position: number, value: number): void {
    this.#view.setUint32(this.#start + position, value, true);
  }

  /** The bytes written so far, valid until the next write or reset. */
  view(): Buffer {
    return this.#buffer.subarray(this.#start, this.#position);
  }

  /** A copy of the bytes written so far. */
  finish(): Buffer {
    return Buffer.from(this.view());
  }

  /**
   * The bytes written so far, without a copy: they are the caller's from now on. They share an allocation of
   * `initialBytes` with what is taken before and after: for pieces that don't live long.
   */
  take(): Buffer {
    const taken = this.view();
    this.#start = this.#position;
    // An allocation that had to grow is not kept for small pieces: one large piece would cost memory for long.
    if (this.#buffer.byteLength > this.#initialBytes) this.#startAnew();
    return taken;
  }

  #startAnew(): void {
    this.#buffer = Buffer.allocUnsafeSlow(this.#initialBytes);
    this.#view = viewOf(this.#buffer);
    this.#start = 0;
    this.#position = 0;
  }

  #reserve(count: number): void {
    if (this.#position + count > this.#buffer.byteLength) this.#grow(count);
  }

  #grow(count: number): void {
    const piece = this.view();
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#initialBytes, (piece.byteLength + count) * 2));
    grown.set(piece);
    this.#buffer = grown;
    this.#view = viewOf(grown);
    this.#start = 0;
    this.#position = piece.byteLength;
  }
}

const i64Max = 2n ** 63n - 1n;
const i64Min = -(2n ** 63n);

/** Up to this length a loop over the characters is faster than a call of the native function. */
const shortText = 24;
const notLatin1 = /[^\u0000-\u00ff]/;

function viewOf(buffer: Buffer): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
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
