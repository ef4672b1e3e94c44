/** The conversations with members that the user is in, kept up to date by the user's own log, `$me`. */

import { QuothError, type Client } from "../../src/index.js";
import type { ConversationInfo, Members } from "../../src/members/index.js";

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
  ) {}

  get(name: string): ConversationInfo | undefined {
    return this.infos.get(name);
  }

  /** Loads the list. Call it with each connection. */
  async load(): Promise<void> {
    try {
      let after: string | undefined;
      do {
        const page = await this.members.conversations({ after });
        for (const info of page.conversations) this.take(info.conversation, info);
        after = page.more ? page.conversations.at(-1)?.conversation : undefined;
        if (!this.follows) void this.follow();
      } while (after !== undefined);
    } catch {
      // A server that knows no members, or a lost connection: the next one is asked again.
    }
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
        this.take(name, await this.members.describe(name));
      } catch (error) {
        if (error instanceof QuothError && error.code === "FORBIDDEN") this.take(name, undefined);
      }
    }
    this.asked.delete(name);
  }

  private async follow(): Promise<void> {
    this.follows = true;
    try {
      for await (const event of this.client.conversation("$me").events()) {
        if (event.type === "belongs") void this.refresh(event.conversation);
        if (event.type === "belongs_no_more") this.take(event.conversation, undefined);
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
