/** Integers, texts and bytes as the protocol encodes them (section 2: postcard). */

const MAX_U32 = 0xffff_ffff;
/** Bytes of the longest varint. */
const VARINT_BYTES_MAX = 10;

const encoder = new TextEncoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What came is not what the protocol allows. */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
}

/** The text of UTF-8 bytes; throws when they are not UTF-8. */
export function decodeText(bytes: Uint8Array): string {
  return strictDecoder.decode(bytes);
}

/** The bytes of a text in UTF-8. */
export function encodeText(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

/** How many bytes the varint of a number takes. */
export function varintLength(value: number): number {
  let length = 1;
  for (; value >= 0x80; value = Math.floor(value / 0x80)) length += 1;
  return length;
}

/** Bytes that grow at their end. */
export class ByteWriter {
  private buffer = new Uint8Array(64);
  private length = 0;

  /** An integer of any width: numbers up to 2^53, above that `bigint`. */
  varint(value: number | bigint): this {
    if (typeof value === "bigint") {
      for (; value >= 0x80n; value >>= 7n) this.byte(Number(value & 0x7fn) | 0x80);
      return this.byte(Number(value));
    }
    // No bit operators: they cut numbers to 32 bits.
    for (; value >= 0x80; value = Math.floor(value / 0x80)) this.byte((value % 0x80) | 0x80);
    return this.byte(value);
  }

  byte(value: number): this {
    this.reserve(1);
    this.buffer[this.length++] = value;
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.reserve(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
    return this;
  }

  bytes(bytes: Uint8Array): this {
    return this.varint(bytes.length).raw(bytes);
  }

  text(text: string): this {
    return this.bytes(encodeText(text));
  }

  option<T>(value: T | undefined, write: (value: T) => void): this {
    if (value === undefined) return this.byte(0);
    this.byte(1);
    write(value);
    return this;
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.buffer.slice(0, this.length);
  }

  private reserve(more: number): void {
    if (this.length + more <= this.buffer.length) return;
    const larger = new Uint8Array(Math.max(this.buffer.length * 2, this.length + more));
    larger.set(this.buffer.subarray(0, this.length));
    this.buffer = larger;
  }
}

/** Reads bytes from the front. Every method throws a `DecodeError` when what it wants is not there. */
export class ByteReader {
  private at = 0;

  constructor(private readonly source: Uint8Array) {}

  get isAtEnd(): boolean {
    return this.left === 0;
  }

  get left(): number {
    return this.source.length - this.at;
  }

  byte(): number {
    const byte = this.source[this.at];
    if (byte === undefined) throw new DecodeError("the bytes end too early");
    this.at += 1;
    return byte;
  }

  /** An integer that must be exact as a number: seqs, times, lengths. */
  number(): number {
    const value = this.u64();
    if (value > Number.MAX_SAFE_INTEGER) throw new DecodeError(`${value} is too large for this client`);
    return Number(value);
  }

  u32(): number {
    const value = this.number();
    if (value > MAX_U32) throw new DecodeError(`${value} is not of 32 bits`);
    return value;
  }

  /** An integer of 64 bits; `bigint` where a number would not be exact. */
  u64(): number | bigint {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      const byte = this.byte();
      // From here on a number could lose bits.
      if (i === 7) return this.wide(BigInt(value), byte);
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
      if (byte < 0x80) return checked(value, byte, i);
    }
    throw new DecodeError("a varint is too long");
  }

  private wide(value: bigint, byte: number): number | bigint {
    for (let i = 7; i < VARINT_BYTES_MAX; i++) {
      value |= BigInt(byte & 0x7f) << BigInt(7 * i);
      if (byte < 0x80) {
        checked(0, byte, i);
        if (value >> 64n) break;
        return value > Number.MAX_SAFE_INTEGER ? value : Number(value);
      }
      if (i + 1 < VARINT_BYTES_MAX) byte = this.byte();
    }
    throw new DecodeError("a varint is too long");
  }

  bool(): boolean {
    const byte = this.byte();
    if (byte > 1) throw new DecodeError(`${byte} is no bool`);
    return byte === 1;
  }

  option<T>(read: () => T): T | undefined {
    return this.bool() ? read() : undefined;
  }

  take(length: number): Uint8Array {
    if (length > this.left) throw new DecodeError("the bytes end too early");
    this.at += length;
    return this.source.subarray(this.at - length, this.at);
  }

  rest(): Uint8Array {
    return this.take(this.left);
  }

  bytes(): Uint8Array {
    return this.take(this.number());
  }

  text(): string {
    try {
      return decodeText(this.bytes());
    } catch (error) {
      throw error instanceof DecodeError ? error : new DecodeError("a text is not UTF-8");
    }
  }

  /** Whatever is left does not belong here. */
  end(): void {
    if (!this.isAtEnd) throw new DecodeError("bytes behind the end");
  }
}

/** A varint must be in its shortest form: its last byte is 0 only when it is the only one. */
function checked(value: number, last: number, index: number): number {
  if (last === 0 && index > 0) throw new DecodeError("a varint is not in its shortest form");
  return value;
}
