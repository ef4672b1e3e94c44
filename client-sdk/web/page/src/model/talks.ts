/** The user's list of conversations: what is kept between visits, and its order. */

export interface Last {
  /** None for one that has no place in the log yet. */
  seq?: number;
  sender: string;
  text: string;
  timeMs: number;
}

export interface Talk {
  name: string;
  /** The last seq that this user has read; none as long as the conversation was never opened here. */
  read: number | undefined;
  /** Not kept between visits: nothing of what is said is, since nobody would take it away when it is gone. */
  last: Last | undefined;
  /** When the last message was said, as far as is known; 0: there was none. */
  timeMs: number;
  /** What people call it, as far as was known at the last visit. */
  title: string | undefined;
}

/** Below the 48 that a server lets a connection have open by default. */
export const TALKS_MAX = 40;

/** Where the list is kept. */
export interface Slot {
  get(): string | undefined;
  set(value: string): void;
}

export class TalkList {
  private talks: Talk[];

  constructor(
    private readonly slot: Slot,
    standard: string,
  ) {
    this.talks = load(slot);
    if (this.talks.length === 0) this.talks.push(newTalk(standard));
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
    const talk = newTalk(name);
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
    return [...this.talks].sort((a, b) => b.timeMs - a.timeMs || (a.name < b.name ? -1 : 1));
  }

  save(): void {
    this.slot.set(JSON.stringify(this.talks.map((talk) => ({ ...talk, last: undefined }))));
  }
}

const newTalk = (name: string): Talk => ({ name, read: undefined, last: undefined, timeMs: 0, title: undefined });

function load(slot: Slot): Talk[] {
  try {
    const value: unknown = JSON.parse(slot.get() ?? "[]");
    return Array.isArray(value) ? value.flatMap(talkOf).slice(0, TALKS_MAX) : [];
  } catch {
    return [];
  }
}

function talkOf(value: Partial<Talk> | null): Talk[] {
  if (typeof value?.name !== "string" || value.name === "") return [];
  const read = typeof value.read === "number" ? value.read : undefined;
  const title = typeof value.title === "string" ? value.title : undefined;
  const timeMs = typeof value.timeMs === "number" ? value.timeMs : 0;
  return [{ name: value.name, read, last: undefined, timeMs, title }];
}
