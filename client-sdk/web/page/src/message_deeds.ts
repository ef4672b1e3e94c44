/** What can be done with the messages of the conversation that is shown, and the menus that offer it. */

import type { Messages } from "../../src/messages/index.js";
import { deleteAny } from "./model/conversation.js";
import { calledBy } from "./model/mentions.js";
import type { Room } from "./room.js";
import { readersText } from "./view/log_actions.js";
import type { LogView } from "./view/log.js";
import type { ComposerView } from "./view/composer.js";
import { DateView } from "./view/date.js";
import { openMenu, type MenuItem } from "./view/menu.js";
import { byId } from "./view/dom.js";

/** What is offered; anything else comes from others and can be joined. */
const REACTIONS = ["👍", "❤️", "😂", "🎉", "😮", "😢", "🙏", "👀"];
/** Larger conversations tell how many have read a message, and not who. */
const BY_NAME_MAX = 100;

export interface DeedHooks {
  active(): Room;
  /** What is written next answers this message. */
  reply(seq: number): void;
  /** What is wrong with a request that was refused, for people. */
  problemOf(error: unknown): string;
}

export class MessageDeeds {
  private date: DateView | undefined;

  constructor(
    private readonly messages: Messages,
    private readonly log: LogView,
    private readonly composer: ComposerView,
    private readonly hooks: DeedHooks,
  ) {}

  pick(seq: number, anchor: HTMLElement): void {
    const mine = this.room.nowOf(seq)?.reactions.filter((one) => one.mine).map((one) => one.reaction) ?? [];
    const items = REACTIONS.map((reaction) => ({
      label: reaction,
      checked: mine.includes(reaction),
      does: () => this.react(seq, reaction),
    }));
    openMenu(anchor, { label: "React", items, row: true, home: this.homeOf(anchor) });
  }

  react(seq: number, reaction: string): void {
    const { room } = this;
    const isOn = room.nowOf(seq)?.reactions.some((one) => one.reaction === reaction && one.mine) ?? false;
    void this.ask(() => this.messages.react(room.name, seq, reaction, !isOn));
  }

  more(seq: number, anchor: HTMLElement): void {
    const { room } = this;
    const message = room.message(seq);
    if (!message) return;
    const own = message.sender === room.me;
    const items: (MenuItem | false)[] = [
      { label: "Reply", does: () => this.hooks.reply(seq) },
      { label: "React…", does: () => this.pick(seq, anchor.isConnected ? anchor : byId("log")) },
      own && { label: "Edit", does: () => this.edit(seq) },
      { label: "Copy text", does: () => void navigator.clipboard?.writeText(this.textOf(seq)).catch(() => undefined) },
      { label: "Delete for me", danger: true, does: () => void this.ask(() => this.messages.hide(room.name, seq)) },
      (own || deleteAny(room.info)) && {
        label: "Delete for everyone",
        sure: "Really delete for everyone",
        danger: true,
        does: () => void this.ask(() => this.messages.revoke(room.name, seq)),
      },
    ];
    openMenu(anchor, {
      label: "Message",
      items: items.filter((item) => item !== false),
      home: this.homeOf(anchor),
      ...(own && { info: this.readers(room, seq) }),
    });
  }

  edit(seq: number): void {
    const { room } = this;
    this.log.edit(seq, this.textOf(seq), (text) =>
      this.ask(() => this.messages.edit(room.name, seq, text, calledBy(text, room.callable))),
    );
  }

  /** The own message that was said last, as far as it is held. */
  editLast(): void {
    const { room } = this;
    const own = room.timeline.entries.filter((entry) => entry.kind === "message" && entry.sender === room.me && !room.hidden.has(entry.seq));
    const last = own.at(-1);
    if (last?.kind === "message") this.edit(last.seq);
  }

  /** To a message that another one answers. */
  async original(seq: number): Promise<void> {
    const { room } = this;
    if (room.message(seq)) return this.log.render({ seq, find: true });
    await this.ask(() => room.history.toPlace({ around: seq }));
  }

  /** Asks for a day, and goes there. */
  askDate(): void {
    this.date ??= new DateView((day) => {
      const aroundTimeMs = new Date(`${day}T00:00`).getTime();
      void this.ask(() => this.room.history.toPlace({ aroundTimeMs }));
    });
    this.date.show();
  }

  private get room(): Room {
    return this.hooks.active();
  }

  /** Where the focus goes behind a menu: the button that opened it may be gone by then, its row stays. */
  private homeOf(anchor: HTMLElement): HTMLElement {
    return anchor.closest<HTMLElement>(".msg") ?? anchor;
  }

  private textOf(seq: number): string {
    return this.room.nowOf(seq)?.edited?.text ?? this.room.message(seq)?.text ?? "";
  }

  private async readers(room: Room, seq: number): Promise<string> {
    const names = readersText(room.seenBook.readers(seq));
    if ((room.info?.members ?? 0) <= BY_NAME_MAX) return names;
    try {
      const { read, delivered } = await this.messages.receipts(room.name, seq);
      return `Read by ${read.toLocaleString("en")}, received by ${delivered.toLocaleString("en")}`;
    } catch {
      return names;
    }
  }

  /** Gives what is wrong, and says so. */
  private async ask(does: () => Promise<unknown>): Promise<string | undefined> {
    try {
      await does();
      return undefined;
    } catch (error) {
      const problem = this.hooks.problemOf(error);
      this.composer.complain(problem);
      return problem;
    }
  }
}
