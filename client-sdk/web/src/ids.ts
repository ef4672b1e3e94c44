/** Random ids, and the rules for names. */
import { QuothError } from "./error.js";
import { encodeText } from "./wire/bytes.js";

/** A producer that nobody else has: 64 random bits. */
export function randomProducer(): bigint {
  return crypto.getRandomValues(new BigUint64Array(1))[0] ?? 0n;
}

/** Checks an identifier as the protocol does. `what` names it for people. */
export function checkName(what: string, name: string, bytesMax: number): void {
  const { length } = encodeText(name);
  if (length < 1 || length > bytesMax) {
    throw new QuothError("BAD_ARGUMENT", `a ${what} has 1 to ${bytesMax} bytes; this one has ${length}`, false);
  }
  if (/\p{Cc}/u.test(name)) throw new QuothError("BAD_ARGUMENT", `a ${what} has no control characters`, false);
}

/** Checks a number that goes over the wire: a seq, a count, a time. */
export function checkCount(what: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0) return;
  throw new QuothError("BAD_ARGUMENT", `${what} must be a whole number from 0 on, not ${value}`, false);
}
