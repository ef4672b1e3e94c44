/**
 * Which of the user's devices a window is: the first one of this browser that no other window is at the
 * moment. So a server knows about as many devices of a browser as there are windows at once, and none takes
 * the place of another.
 */

import { kept } from "./storage.js";

const KEY = "quoth.devices";
/** Windows of a browser. Outcome: what is opened beside so many is a device of its own each time. */
const DEVICES_MAX = 32;

/** None where it cannot be kept. It is this window's until that is gone. */
export async function freeDevice(locks: LockManager | undefined = navigator.locks): Promise<string | undefined> {
  if (!locks) return undefined;
  const known = load();
  for (const device of known) if (await take(locks, device)) return device;
  if (known.length >= DEVICES_MAX) return undefined;
  const device = `browser-${crypto.randomUUID().slice(0, 8)}`;
  if (!(await take(locks, device))) return undefined;
  // Another window may have done the same meanwhile.
  kept.set(KEY, JSON.stringify([...load(), device]));
  return device;
}

function take(locks: LockManager, device: string): Promise<boolean> {
  return new Promise((resolve) => {
    locks
      .request(`quoth.device.${device}`, { ifAvailable: true }, (lock) => {
        resolve(lock !== null);
        // The browser frees it with the window.
        return lock ? new Promise(() => {}) : undefined;
      })
      .catch(() => resolve(false));
  });
}

function load(): string[] {
  try {
    const value: unknown = JSON.parse(kept.get(KEY) ?? "[]");
    return Array.isArray(value) ? value.filter((one) => typeof one === "string" && /^browser-[\da-f]{8}$/u.test(one)) : [];
  } catch {
    return [];
  }
}
