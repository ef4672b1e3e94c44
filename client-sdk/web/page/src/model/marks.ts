/** How far the others have read. A roster forgets who has left; the page remembers for as long as it lives. */

export interface Present {
  user: string;
  /** The last seq that the user has read. */
  seen: number;
  /** The last one that a device of the user has received, where that is known. */
  delivered?: number;
}

export class SeenBook {
  private seen = new Map<string, number>();
  private received = 0;

  constructor(
    readonly me: string,
    readonly usersMax = 1000,
  ) {}

  /** Returns whether any mark has moved. */
  apply(present: readonly Present[]): boolean {
    let moved = false;
    for (const { user, seen, delivered = 0 } of present) {
      if (user !== this.me && delivered > this.received) {
        this.received = delivered;
        moved = true;
      }
      if (seen <= (this.seen.get(user) ?? 0)) continue;
      if (!this.seen.has(user) && this.seen.size >= this.usersMax) continue;
      this.seen.set(user, seen);
      moved = true;
    }
    return moved;
  }

  clear(): void {
    this.seen.clear();
    this.received = 0;
  }

  /** The highest seq that a device of another user has received. */
  get deliveredUpTo(): number {
    return Math.max(this.received, this.readUpTo);
  }

  /** The highest seq that another user has read. */
  get readUpTo(): number {
    let max = 0;
    for (const [user, seen] of this.seen) if (user !== this.me && seen > max) max = seen;
    return max;
  }

  /** How far this user has read on any device. */
  get own(): number {
    return this.seen.get(this.me) ?? 0;
  }

  /** Who has read the message at `seq`, in the order of their names. */
  readers(seq: number): string[] {
    return [...this.seen]
      .filter(([user, seen]) => user !== this.me && seen >= seq)
      .map(([user]) => user)
      .sort();
  }
}
