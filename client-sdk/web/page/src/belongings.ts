/** What is known of the conversations with members that the page has open, kept up to date by the user's own log, `$me`. */

import { QuothError, type Client } from "../../src/index.js";
import type { ConversationInfo, Members } from "../../src/members/index.js";

/** So far back it is looked for what the user has hidden. */
const OWN_EVENTS = 2000;

export class Belongings {
  private readonly infos = new Map<string, ConversationInfo>();
  /** Asked for at the moment; again when it has changed meanwhile. */
  private readonly asked = new Map<string, { again: boolean }>();
  private follows = false;

  constructor(
    private readonly client: Client,
    private readonly members: Members,
    /** Something is known anew: of a conversation that the user is in, or is in no more. */
    private readonly changed: (name: string, info: ConversationInfo | undefined) => void,
    /** The user has hidden a message, here or on another device. */
    private readonly hidden: (conversation: string, seq: number) => void,
  ) {}

  get(name: string): ConversationInfo | undefined {
    return this.infos.get(name);
  }

  /** A connection is there. */
  connected(): void {
    if (!this.follows) void this.follow();
    // What has changed meanwhile in those that are not read is known by asking.
    void this.refreshAll();
  }

  private async refreshAll(): Promise<void> {
    const missed = new Set(this.infos.keys());
    try {
      let after: string | undefined;
      do {
        const { conversations, more } = await this.members.conversations(after === undefined ? {} : { after });
        for (const info of conversations) {
          missed.delete(info.conversation);
          this.take(info.conversation, info);
        }
        after = more ? conversations.at(-1)?.conversation : undefined;
      } while (after !== undefined);
    } catch {
      // Then each is asked for by itself.
    }
    for (const name of missed) void this.refresh(name);
  }

  /** Asks anew what a conversation is. */
  async refresh(name: string): Promise<void> {
    const asked = this.asked.get(name);
    if (asked) {
      asked.again = true;
      return;
    }
    const asking = { again: true };
    this.asked.set(name, asking);
    while (asking.again) {
      asking.again = false;
      try {
        const info = await this.members.describe(name);
        this.take(name, info.kind && info);
      } catch (error) {
        if (error instanceof QuothError && error.code === "FORBIDDEN") this.take(name, undefined);
      }
    }
    this.asked.delete(name);
  }

  private async follow(): Promise<void> {
    this.follows = true;
    try {
      let isLive = false;
      for await (const event of this.client.conversation("$me").events({ from: { last: OWN_EVENTS } })) {
        if (event.type === "caught_up") isLive = true;
        if (event.type === "hidden") this.hidden(event.conversation, event.of);
        if (isLive && event.type === "belongs") void this.refresh(event.conversation);
        if (isLive && event.type === "belongs_no_more") this.take(event.conversation, undefined);
      }
    } catch {
      // Without it the list is as new as the last connection.
      this.follows = false;
    }
  }

  private take(name: string, info: ConversationInfo | undefined): void {
    if (info) this.infos.set(name, info);
    else if (!this.infos.delete(name)) return;
    this.changed(name, info);
  }
}
