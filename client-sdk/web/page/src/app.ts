/** The page once somebody is signed in: joins the rooms to the views. */

import type { State } from "../../src/index.js";
import type { Outbox } from "../../src/outbox/index.js";
import { Drafts } from "./drafts.js";
import { listenToKeys } from "./keys.js";
import type { Link } from "./model/connection.js";
import { TALKS_MAX, TalkList } from "./model/talks.js";
import { badge, oneLine, titleOf } from "./model/text.js";
import type { Message } from "./model/timeline.js";
import { matches, nameProblem } from "./model/token.js";
import { Panes } from "./panes.js";
import type { Attention, Room } from "./room.js";
import { Rooms } from "./rooms.js";
import type { Session } from "./session.js";
import { BlankView } from "./view/blank.js";
import { ComposerView } from "./view/composer.js";
import { closeByClickBeside, help } from "./view/dialogs.js";
import { byId, setFace, setText } from "./view/dom.js";
import { ListView } from "./view/list.js";
import { LogView } from "./view/log.js";
import { RoomHeadView } from "./view/room_head.js";
import { sayMessage } from "./view/say.js";
import { StatusView } from "./view/status.js";

const STANDARD = "general";
/** Relative times and days move on. */
const CLOCK_MS = 20_000;
const SAVE_MS = 400;
const SETTLED_MS = 3000;
const HIDDEN_RENDER_MS = 250;

export class App {
  private readonly me: string;
  private readonly rooms: Rooms;
  private readonly drafts = new Drafts();
  private readonly panes = new Panes(() => this.roomShown());
  private readonly log: LogView;
  private readonly list: ListView;
  private readonly head: RoomHeadView;
  private readonly composer: ComposerView;
  private readonly blank: BlankView;
  private readonly status: StatusView;
  private active!: Room;
  private everConnected = false;
  private scheduled = false;
  private logChanged = false;
  private saving: ReturnType<typeof setTimeout> | undefined;
  private countdown: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly session: Session,
    private readonly outbox: Outbox,
    conversation: string | undefined,
    private readonly signOut: (why?: string) => void,
  ) {
    this.me = session.claims.user;
    const { client } = outbox;
    this.log = new LogView({
      drawTop: () => this.blank.renderTop(this.active),
      needOlder: () => void this.active.loadOlder(),
      needNewer: () => void this.active.loadNewer(),
      needLatest: () => void this.active.toLatest(),
      looking: () => this.looking(),
      visible: (seq) => this.seen(seq),
      retry: (id) => this.rooms.retry(id),
      discard: (id) => this.rooms.discard(id),
      readersOf: (seq) => this.active.seenBook.readers(seq),
    });
    this.list = new ListView((name) => this.open(name));
    this.head = new RoomHeadView(() => this.remove(this.active.name));
    this.composer = new ComposerView({ send: (text) => void this.send(text), typing: () => this.active.typing(), draft: (text) => this.drafts.set(this.active.name, text) });
    this.blank = new BlankView(() => this.active.restart(), () => this.remove(this.active.name), () => this.active.retryOlder());
    this.status = new StatusView(() => client.wake(), () => this.signOut());
    this.rooms = new Rooms(outbox, new TalkList(localStorage, `quoth.list.${this.me}`, STANDARD), this.me, {
      changed: (room) => this.changed(room),
      arrived: (room, message) => this.arrived(room, message),
      opened: (room) => this.opened(room),
      moved: (room, place) => {
        if (room === this.active) this.log.render(place);
      },
      attention: (room) => this.attention(room),
    });
    this.showMe();
    this.wire(client);
    this.takeState(client.state);
    this.start(conversation);
  }

  private showMe(): void {
    setText(byId("me-name"), this.me);
    setFace(byId("me-face"), this.me);
    byId("app").hidden = false;
    byId("signin").hidden = true;
  }

  private wire(client: Outbox["client"]): void {
    client.onState((state) => this.takeState(state));
    client.onRtt(() => this.schedule());
    addEventListener("online", () => this.schedule());
    addEventListener("offline", () => this.schedule());
    addEventListener("focus", () => this.log.check());
    document.addEventListener("visibilitychange", () => {
      this.schedule();
      this.log.check();
    });
    setInterval(() => {
      this.logChanged = true;
      this.schedule();
    }, CLOCK_MS);
    byId<HTMLFormElement>("open-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.openTyped();
    });
    byId("open-name").addEventListener("input", () => setText(byId("open-problem"), ""));
    byId("help-open").addEventListener("click", help);
    byId("sign-out").addEventListener("click", () => this.signOut());
    byId("back").addEventListener("click", () => this.panes.back());
    for (const dialog of document.querySelectorAll("dialog")) closeByClickBeside(dialog);
    addEventListener("pagehide", () => this.save());
    listenToKeys({
      neighbour: (step) => this.neighbour(step),
      openField: () => this.openField(),
      escape: () => this.escape(),
      write: () => this.composer.focus(),
      cycle: (step) => this.cycle(step),
      page: (step) => this.log.page(step),
      help,
    });
  }

  private start(conversation: string | undefined): void {
    const asked = conversation !== undefined && nameProblem(conversation) === undefined ? this.rooms.add(conversation) : undefined;
    const before = this.rooms.get(this.panes.remembered ?? "");
    const latest = this.rooms.talks.sorted()[0];
    const first = asked ?? before ?? (latest?.last ? this.rooms.get(latest.name) : undefined) ?? this.rooms.get(STANDARD) ?? this.rooms.all[0];
    this.activate(first as Room);
    if (asked && !before) this.panes.enter(asked.name);
    if (this.panes.roomVisible && matchMedia("(pointer: fine)").matches) this.composer.focus();
  }

  /** The user asks for a conversation of the list. */
  private open(name: string): void {
    const room = this.rooms.get(name);
    if (!room) return;
    if (room !== this.active) this.activate(room);
    this.panes.enter(name);
    if (matchMedia("(pointer: fine)").matches) this.composer.focus();
  }

  private activate(room: Room): void {
    const before = this.active as Room | undefined;
    this.active = room;
    before?.leave();
    this.panes.remember(room.name);
    this.composer.show(room.name, this.drafts.get(room.name));
    this.blank.render(room);
    this.log.show(room, room.enter());
    this.renderNow();
  }

  private openTyped(): void {
    const field = byId<HTMLInputElement>("open-name");
    const name = field.value.trim();
    const problem = nameProblem(name) ?? (this.rooms.add(name) ? undefined : `The list is full: at most ${TALKS_MAX} conversations. Remove one first.`);
    setText(byId("open-problem"), problem ?? "");
    if (problem !== undefined) return;
    field.value = "";
    this.open(name);
  }

  private remove(name: string): void {
    if (this.rooms.all.length === 1 && name === STANDARD) return;
    const order = this.rooms.talks.sorted().map((talk) => talk.name);
    this.rooms.remove(name);
    if (this.rooms.all.length === 0) this.rooms.add(STANDARD);
    const next = this.rooms.get(order[order.indexOf(name) + 1] ?? order[order.indexOf(name) - 1] ?? STANDARD) ?? this.rooms.all[0];
    this.activate(next as Room);
    this.panes.back();
    this.list.focus();
  }

  private async send(text: string): Promise<void> {
    const room = this.active;
    try {
      await this.rooms.send(room, text);
    } catch (error) {
      if (room !== this.active || this.composer.text.value !== "") return;
      this.composer.show(room.name, text);
      this.composer.complain(error instanceof Error ? error.message : String(error));
      return;
    }
    if (room !== this.active) return;
    if (room.timeline.attached) this.log.render("end");
    else void room.toLatest();
  }

  private attention(room: Room): Attention {
    if (room !== this.active || !this.panes.roomVisible) return "elsewhere";
    if (!this.log.isAtEnd) return "scrolled";
    return this.looking() ? "reading" : "unfocused";
  }

  private looking(): boolean {
    return document.visibilityState === "visible" && document.hasFocus() && this.panes.roomVisible;
  }

  private seen(seq: number): void {
    if (this.active.state.name !== "open" || !this.looking() || !this.active.markSeen(seq)) return;
    this.saveSoon();
    this.schedule();
  }

  private changed(room: Room): void {
    if (room === this.active) this.logChanged = true;
    this.saveSoon();
    this.schedule();
  }

  private opened(room: Room): void {
    if (room === this.active) {
      this.blank.render(room);
      this.log.show(room, room.enter());
    }
    this.changed(room);
  }

  private arrived(room: Room, message: Message): void {
    const line = oneLine(message.text);
    sayMessage(room === this.active ? `${message.sender}: ${line}` : `${message.sender} in ${room.name}: ${line}`);
  }

  private takeState(state: State): void {
    const connected = state.name === "connected";
    if (connected) {
      this.everConnected = true;
      // The first round trip is measured while the page is busy with its start.
      setTimeout(() => this.outbox.client.state.name === "connected" && this.outbox.client.wake(), SETTLED_MS);
    }
    this.rooms.setConnected(connected);
    if (state.name === "closed" && (state.reason.code === "SIGNED_OUT" || state.reason.code.startsWith("TOKEN_"))) this.signOut(state.reason.message);
    if (state.name === "disconnected") this.countdown ??= setInterval(() => this.schedule(), 500);
    else {
      clearInterval(this.countdown);
      this.countdown = undefined;
    }
    this.schedule();
  }

  private link(): Link {
    const { client } = this.outbox;
    const { state } = client;
    if (state.name === "connected") return { name: "connected", rttMs: client.rttMs, transport: client.transport, durability: client.welcome?.durability };
    if (state.name === "closed") return { name: "ended", reason: state.reason.message };
    if (!navigator.onLine) return { name: "offline" };
    if (state.name === "disconnected") return { name: "waiting", retryAtMs: state.retryAtMs, reason: state.reason.message };
    return { name: "connecting", first: !this.everConnected };
  }

  /** At most once a frame; in a hidden window there are no frames, and the title still counts. */
  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    if (document.visibilityState === "visible") requestAnimationFrame(() => this.renderNow());
    else setTimeout(() => this.renderNow(), HIDDEN_RENDER_MS);
  }

  private renderNow(): void {
    this.scheduled = false;
    const nowMs = Date.now();
    const room = this.active;
    this.list.render(
      this.rooms.talks.sorted().map(({ name, last }) => {
        const one = this.rooms.get(name) as Room;
        return { name, last, unread: one.unread, typings: one.typings, hint: hintOf(one), current: one === room, me: this.me };
      }),
      nowMs,
    );
    this.head.render({ name: room.name, me: this.me, roster: room.roster, head: room.timeline.head, trouble: troubleOf(room) });
    this.composer.showTypings(room.typings);
    this.composer.allow(this.whyReadOnly(room));
    this.status.render(this.link(), this.rooms.waiting, nowMs);
    this.blank.render(room);
    if (this.logChanged) this.log.render();
    this.logChanged = false;
    this.showUnread();
  }

  private whyReadOnly(room: Room): string | undefined {
    if (room.state.name === "ended" && room.state.error.code === "FORBIDDEN") return "";
    return matches(this.session.claims.write, room.name) ? undefined : "You can read here, but not write.";
  }

  private showUnread(): void {
    const { unread } = this.rooms;
    const title = titleOf(unread);
    if (document.title !== title) document.title = title;
    const href = unread > 0 ? "favicon-unread.svg" : "favicon.svg";
    const link = byId<HTMLLinkElement>("icon");
    if (link.getAttribute("href") !== href) link.setAttribute("href", href);
    const elsewhere = unread - this.active.unread;
    const back = byId("back-badge");
    back.hidden = elsewhere === 0;
    setText(back, badge(elsewhere));
  }

  private roomShown(): void {
    this.log.render(this.active.enter());
    this.schedule();
  }

  private neighbour(step: number): void {
    const names = this.rooms.talks.sorted().map((talk) => talk.name);
    const next = names[names.indexOf(this.active.name) + step];
    if (next !== undefined) this.open(next);
  }

  private openField(): void {
    this.panes.back();
    const field = byId<HTMLInputElement>("open-name");
    field.focus();
    field.select();
  }

  private escape(): void {
    const field = byId<HTMLInputElement>("open-name");
    if (document.activeElement === field) {
      field.value = "";
      setText(byId("open-problem"), "");
    } else if (!this.log.isAtEnd) {
      this.log.toEnd();
    } else if (this.panes.narrow && this.panes.roomVisible) {
      this.panes.back();
      this.list.focus();
      return;
    }
    this.composer.focus();
  }

  private cycle(step: number): void {
    const stops = [byId("side"), byId("log"), byId("composer")].filter((one) => one.offsetParent !== null);
    const at = stops.findIndex((one) => one.contains(document.activeElement));
    const next = stops[(at + step + stops.length) % stops.length];
    if (next === byId("side")) this.list.focus();
    else if (next === byId("composer")) this.composer.focus();
    else next?.focus();
  }

  private saveSoon(): void {
    this.saving ??= setTimeout(() => this.save(), SAVE_MS);
  }

  private save(): void {
    clearTimeout(this.saving);
    this.saving = undefined;
    this.rooms.talks.save();
  }
}

function troubleOf(room: Room): string | undefined {
  if (room.state.name === "ended" && room.state.error.code !== "FORBIDDEN") return `Nothing new comes here: ${room.state.error.message}`;
  return room.interrupted ? "The server has trouble sending what comes next…" : undefined;
}

/** What the list says of a conversation without a message. */
function hintOf(room: Room): string {
  if (room.state.name === "opening") return "";
  if (room.state.name === "open") return "No messages yet";
  return room.state.error.code === "FORBIDDEN" ? "No access" : "Stopped";
}
