/** Whether members of conversations are there, over as many connections as it takes. */
import type { MemberPresence, PresenceListener } from "./shapes.js";
import type { Unsubscribe } from "../api.js";
import type { QuothError } from "../error.js";
import { Listeners } from "../listeners.js";

type Told = [members: ReadonlyMap<string, MemberPresence>, error?: QuothError];

export class Presences {
  private readonly watched = new Map<string, { members: Map<string, MemberPresence>; listeners: Listeners<Told>; count: number }>();

  /** `ask` tells the server that a conversation is watched, or is no more. */
  constructor(private readonly ask: (conversation: string, watch: boolean) => Promise<unknown>) {}

  /** `isConnected`: otherwise the next connection is told. */
  watch(conversation: string, listener: PresenceListener, isConnected: boolean): Unsubscribe {
    let watched = this.watched.get(conversation);
    if (!watched) {
      watched = { members: new Map(), listeners: new Listeners(), count: 0 };
      this.watched.set(conversation, watched);
      if (isConnected) this.begin(conversation);
    }
    watched.count += 1;
    const remove = watched.listeners.add((told) => listener(...told));
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      remove();
      if (--watched.count > 0 || this.watched.get(conversation) !== watched) return;
      this.watched.delete(conversation);
      this.ask(conversation, false).catch(() => {});
    };
  }

  /** A new connection: who is not told of anew is offline. */
  connected(): void {
    for (const [conversation, { members }] of this.watched) {
      members.clear();
      this.begin(conversation);
    }
  }

  take(conversation: string, user: string, presence: MemberPresence): void {
    const watched = this.watched.get(conversation);
    watched?.members.set(user, presence);
    watched?.listeners.tell([watched.members]);
  }

  /** The server tells no more of a conversation. Asked again, it says why, or has another opinion by then. */
  ended(conversation: string): void {
    const watched = this.watched.get(conversation);
    if (!watched) return;
    watched.members.clear();
    this.begin(conversation);
  }

  private begin(conversation: string): void {
    const watched = this.watched.get(conversation);
    this.ask(conversation, true).then(
      () => watched?.listeners.tell([watched.members]),
      (error) => {
        if (this.watched.get(conversation) !== watched) return;
        this.watched.delete(conversation);
        watched?.listeners.tell([new Map(), error]);
      },
    );
  }
}
