/** Types of the encoding (section 2), put together from smaller ones: what stands here once is both read and written. */
import { type ByteReader, type ByteWriter, DecodeError } from "./bytes.js";

/** How values of a type are read and written. */
export interface Type<T> {
  read(from: ByteReader): T;
  write(to: ByteWriter, value: T): void;
}

export type Fields = Record<string, Type<any>>;
export type Of<T> = T extends Type<infer V> ? V : never;
/** Keys of what may be left out. */
type Optional<F extends Fields> = { [K in keyof F]: undefined extends Of<F[K]> ? K : never }[keyof F];
export type Struct<F extends Fields> = { [K in Exclude<keyof F, Optional<F>>]: Of<F[K]> } & {
  [K in Optional<F>]?: Of<F[K]>;
};
export type Variant<V extends Record<string, Fields>> = {
  [K in keyof V & string]: { type: K } & Struct<V[K]>;
}[keyof V & string];

type Numbered<N extends string> = { [K in N]: Record<K, number> }[N];

const NEVER = 2n ** 64n - 1n;

const write = (to: ByteWriter, value: number | bigint) => void to.varint(value);

/** An integer of at most 32 bits. */
export const u32: Type<number> = { read: (from) => from.u32(), write };
/** An integer of 64 bits that must be exact as a number: seqs, times. */
export const number: Type<number> = { read: (from) => from.number(), write };
/** An integer of 64 bits. */
export const u64: Type<number | bigint> = { read: (from) => from.u64(), write };
/** A time that may never come, which is `Infinity`. */
export const end: Type<number> = {
  read(from) {
    const value = Number(from.u64());
    return value > Number.MAX_SAFE_INTEGER ? Infinity : value;
  },
  write: (to, value) => write(to, value > Number.MAX_SAFE_INTEGER ? NEVER : value),
};
export const big: Type<bigint> = { read: (from) => BigInt(from.u64()), write };
export const bool: Type<boolean> = { read: (from) => from.bool(), write: (to, value) => void to.byte(value ? 1 : 0) };
export const text: Type<string> = { read: (from) => from.text(), write: (to, value) => void to.text(value) };
/** Bytes. Those that are read are a copy: what came in the same message is not kept alive by it. */
export const bytes: Type<Uint8Array> = { read: (from) => from.bytes().slice(), write: (to, value) => void to.bytes(value) };

/** All that is left of a frame, for whoever knows what it is. */
export const rest: Type<Uint8Array> = { read: (from) => from.rest().slice(), write: (to, value) => void to.raw(value) };

export const option = <T>(inner: Type<T>): Type<T | undefined> => ({
  read: (from) => from.option(() => inner.read(from)),
  write: (to, value) => void to.option(value, (some) => inner.write(to, some)),
});

export const list = <T>(inner: Type<T>): Type<readonly T[]> => ({
  read(from) {
    const values = [];
    for (let left = from.number(); left > 0; left--) values.push(inner.read(from));
    return values;
  },
  write(to, values) {
    to.varint(values.length);
    for (const value of values) inner.write(to, value);
  },
});

/** An enum without fields: its names in the order of their numbers. */
export const names = <N extends string>(...all: N[]): Type<N> => ({
  read(from) {
    const number = from.u32();
    return all[number] ?? unknown(number);
  },
  write: (to, value) => write(to, all.indexOf(value)),
});

/** An enum of places in a log, of which one has no number: names in the order of their numbers. */
export const place = <N extends string, U extends N>(numberless: U, ...all: N[]): Type<Numbered<Exclude<N, U>> | U> => ({
  read(from) {
    const number = from.u32();
    const name = all[number] ?? unknown(number);
    return name === numberless ? numberless : ({ [name]: from.number() } as Numbered<Exclude<N, U>>);
  },
  write(to, value) {
    if (typeof value === "string") return write(to, all.indexOf(value));
    const [name, number] = Object.entries(value)[0] as [N, number];
    to.varint(all.indexOf(name)).varint(number);
  },
});

/** What may be left out when it is written, and is this then. */
export const orElse = <T>(inner: Type<T>, other: T): Type<T | undefined> => ({
  read: (from) => inner.read(from),
  write: (to, value) => inner.write(to, value ?? other),
});

export const struct = <F extends Fields>(fields: F): Type<Struct<F>> => ({
  read: (from) => readFields(from, fields) as Struct<F>,
  write: (to, value) => writeFields(to, fields, value),
});

/** An enum that does not grow, as values with a `type`: its variants in the order of their numbers. */
export const variant = <V extends Record<string, Fields>>(variants: V): Type<Variant<V>> => {
  const { read, write } = growing(variants);
  return {
    read: (from) => read(from) ?? unknown(NaN),
    write,
  };
};

/** An enum that may grow: a variant of an unknown number is `undefined`, and what it has is the rest. */
export const growing = <V extends Record<string, Fields>>(variants: V): Type<Variant<V> | undefined> => {
  const all = Object.entries(variants);
  return {
    read(from) {
      const found = all[from.u32()];
      return found && ({ type: found[0], ...readFields(from, found[1]) } as Variant<V>);
    },
    write(to, value) {
      const number = all.findIndex(([type]) => type === value?.type);
      write(to, number);
      writeFields(to, all[number]?.[1] ?? {}, value);
    },
  };
};

function readFields(from: ByteReader, fields: Fields): Record<string, unknown> {
  const value: Record<string, unknown> = {};
  for (const [name, type] of Object.entries(fields)) value[name] = type.read(from);
  return value;
}

function writeFields(to: ByteWriter, fields: Fields, value: any): void {
  for (const [name, type] of Object.entries(fields)) type.write(to, value[name]);
}

function unknown(number: number): never {
  throw new DecodeError(`there is no variant ${number}`);
}
