/** Who is typing in a conversation. */
import type { Env } from "../env.js";

/** A notice is over after this. */
const NOTICE_MS = 5_000;

export class Typings {
  /** A new list with every change, and only then. */
  users: readonly string[] = [];
  private readonly ends = new Map<string, () => void>();

  constructor(
    private readonly env: Env,
    private readonly changed: (users: readonly string[]) => void,
  ) {}

  notice(user: string): void {
    const end = this.ends.get(user);
    end?.();
    this.ends.set(user, this.env.after(NOTICE_MS, () => this.stop(user)));
    if (!end) this.tell();
  }

  /** The notice has come true, or is over. */
  stop(user: string): void {
    this.ends.get(user)?.();
    if (this.ends.delete(user)) this.tell();
  }

  clear(): void {
    for (const user of this.users) this.stop(user);
  }

  private tell(): void {
    this.users = [...this.ends.keys()];
    this.changed(this.users);
  }
}
