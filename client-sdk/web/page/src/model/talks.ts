/** The user's list of conversations: what is kept between visits, and its order. */

export interface Last {
  sender: string;
  text: string;
  timeMs: number;
}

export interface Talk {
  name: string;
  /** The last seq that this user has read; none as long as the conversation was never opened here. */
  read: number | undefined;
  last: Last | undefined;
}

/** Below the 48 that a server lets a connection have open by default. */
export const TALKS_MAX = 40;
const TEXT_MAX = 160;

export type Slot = Pick<Storage, "getItem" | "setItem">;

export class TalkList {
  private talks: Talk[];

  constructor(
    private readonly slot: Slot,
    private readonly key: string,
    standard: string,
  ) {
    this.talks = load(slot, key);
    if (this.talks.length === 0) this.talks.push({ name: standard, read: undefined, last: undefined });
  }

  get all(): readonly Talk[] {
    return this.talks;
  }

  get(name: string): Talk | undefined {
    return this.talks.find((talk) => talk.name === name);
  }

  /** Returns the talk, or none when the list is full. */
  add(name: string): Talk | undefined {
    const known = this.get(name);
    if (known) return known;
    if (this.talks.length >= TALKS_MAX) return undefined;
    const talk: Talk = { name, read: undefined, last: undefined };
    this.talks.push(talk);
    this.save();
    return talk;
  }

  remove(name: string): void {
    this.talks = this.talks.filter((talk) => talk.name !== name);
    this.save();
  }

  /** The latest first; those without a message by their names. */
  sorted(): Talk[] {
    return [...this.talks].sort((a, b) => (b.last?.timeMs ?? 0) - (a.last?.timeMs ?? 0) || (a.name < b.name ? -1 : 1));
  }

  save(): void {
    const kept = this.talks.map((talk) => ({ ...talk, last: talk.last && { ...talk.last, text: talk.last.text.slice(0, TEXT_MAX) } }));
    try {
      this.slot.setItem(this.key, JSON.stringify(kept));
    } catch {
      // A full or forbidden storage costs the list its memory and nothing else.
    }
  }
}

function load(slot: Slot, key: string): Talk[] {
  try {
    const value: unknown = JSON.parse(slot.getItem(key) ?? "[]");
    if (!Array.isArray(value)) return [];
    return value.flatMap((one: Partial<Talk>) => (typeof one?.name === "string" && one.name !== "" ? [{ name: one.name, read: typeof one.read === "number" ? one.read : undefined, last: lastOf(one.last) }] : [])).slice(0, TALKS_MAX);
  } catch {
    return [];
  }
}

function lastOf(value: Partial<Last> | undefined | null): Last | undefined {
  return value && typeof value.sender === "string" && typeof value.text === "string" && typeof value.timeMs === "number" ? { sender: value.sender, text: value.text, timeMs: value.timeMs } : undefined;
}
