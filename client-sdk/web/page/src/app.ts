/** The page once somebody is signed in: joins the rooms to the views, and draws what has changed. */

import type { State } from "../../src/index.js";
import type { Outbox } from "../../src/outbox/index.js";
import type { Connected } from "./boot.js";
import { Drafts } from "./drafts.js";
import { Hidden } from "./hidden.js";
import { InboxList } from "./inbox_list.js";
import { listenToKeys } from "./keys.js";
import { Membership, problemOf } from "./membership.js";
import type { MessageDeeds } from "./message_deeds.js";
import type { Link as ConnectionLink } from "./model/connection.js";
import { rightsOf } from "./model/conversation.js";
import type { Link } from "./model/fragment.js";
import { closedText } from "./model/refusals.js";
import { calledBy } from "./model/mentions.js";
import { TalkList } from "./model/talks.js";
import { badge, oneLine, titleOf } from "./model/text.js";
import type { Message } from "./model/timeline.js";
import { matches } from "./model/token.js";
import { Navigation, STANDARD } from "./navigation.js";
import { Panes } from "./panes.js";
import type { Attention, Room } from "./room.js";
import { Rooms } from "./rooms.js";
import type { Session } from "./session.js";
import { kept } from "./storage.js";
import { BlankView } from "./view/blank.js";
import { ComposerView } from "./view/composer.js";
import { closeByClickBeside, help } from "./view/dialogs.js";
import { byId, setFace, setText } from "./view/dom.js";
import { ListView, type ListItem } from "./view/list.js";
import { LogView } from "./view/log.js";
import { RoomHeadView } from "./view/room_head.js";
import { sayMessage } from "./view/say.js";
import { StatusView } from "./view/status.js";

/** Relative times and days move on. */
const CLOCK_MS = 20_000;
const COUNTDOWN_MS = 500;
const SAVE_MS = 400;
/** After a connection begins, until the page is quiet. */
const SETTLED_MS = 3000;
const HIDDEN_RENDER_MS = 250;
/** Of a longer time a browser makes none. */
const TIMEOUT_MAX_MS = 2 ** 31 - 1;

export class App {
  private readonly me: string;
  private readonly rooms: Rooms;
  private readonly nav: Navigation;
  private readonly drafts = new Drafts();
  private readonly panes = new Panes(() => this.roomShown());
  private readonly log: LogView;
  private readonly list: ListView;
  private readonly head: RoomHeadView;
  private readonly composer: ComposerView;
  private readonly blank: BlankView;
  private readonly status: StatusView;
  private readonly membership: Membership;
  private readonly inbox: InboxList;
  private deeds: Promise<MessageDeeds> | undefined;
  private readonly hidden = new Hidden();
  private readonly outbox: Outbox;
  /** What the list has shown last. */
  private items: readonly ListItem[] = [];
  private everConnected = false;
  private scheduled = false;
  private logChanged = false;
  /** Draws when something has expired. */
  private due: ReturnType<typeof setTimeout> | undefined;
  private saving: ReturnType<typeof setTimeout> | undefined;
  private countdown: ReturnType<typeof setInterval> | undefined;

  constructor(
    private readonly session: Session,
    private readonly connected: Connected,
    link: Link,
    private readonly signOut: (why?: string) => void,
  ) {
    const { outbox, members, messages, inbox } = connected;
    this.outbox = outbox;
    this.me = session.claims.user;
    this.log = new LogView({
      drawTop: () => this.blank.renderTop(this.active),
      needOlder: () => void this.active.history.loadOlder(),
      needNewer: () => void this.active.history.loadNewer(),
      needLatest: () => void this.active.history.toLatest(),
      looking: () => this.looking(),
      visible: (seq) => this.seen(seq),
      retry: (id) => this.rooms.retry(id),
      discard: (id) => this.rooms.discard(id),
      readersOf: (seq) => this.active.seenBook.readers(seq),
      reply: (seq) => this.reply(seq),
      pick: (seq, anchor) => this.withDeeds((deeds) => deeds.pick(seq, anchor)),
      more: (seq, anchor) => this.withDeeds((deeds) => deeds.more(seq, anchor)),
      react: (seq, reaction) => this.withDeeds((deeds) => deeds.react(seq, reaction)),
      original: (seq) => this.withDeeds((deeds) => deeds.original(seq)),
    });
    this.list = new ListView({
      open: (name) => this.openTalk(name),
      more: (name, anchor) => this.inbox.more(name, anchor),
      needMore: () => void this.inbox.loadMore(),
    });
    byId("date-open").addEventListener("click", () => this.withDeeds((deeds) => deeds.askDate()));
    this.head = new RoomHeadView(
      () => this.membership.leave(this.active),
      () => this.membership.showMembers(this.active.info),
      () => this.membership.hideMembers(),
    );
    this.composer = new ComposerView({
      send: (text, replyTo, expiresInMs) => void this.send(text, replyTo, expiresInMs),
      callable: () => this.active.callable,
      extra: () => import("./extra.js"),
      editLast: () => this.withDeeds((deeds) => deeds.editLast()),
      typing: () => this.active.typing(),
      draft: (text) => this.drafts.set(this.active.name, text),
    });
    this.blank = new BlankView({
      again: () => this.active.restart(),
      remove: () => this.nav.remove(this.active.name),
      join: () => void this.membership.joinOpen(this.active),
      older: () => this.active.history.retryOlder(),
    });
    this.status = new StatusView(
      () => outbox.client.wake(),
      () => (this.isPutOut ? location.reload() : this.signOut()),
    );
    this.rooms = new Rooms(outbox, messages, this.hidden, this.talks(), this.me, {
      changed: (room) => this.changed(room),
      arrived: (room, message) => this.arrived(room, message),
      opened: (room) => this.opened(room),
      happened: (room) => this.membership.happened(room),
      barred: (room) => this.membership.barred(room),
      moved: (room, place) => room === this.active && this.log.render(place),
      attention: (room) => this.attention(room),
    });
    this.membership = new Membership(outbox.client, members, this.rooms, this.me, {
      changed: (room) => this.changed(room),
      open: (name) => this.openTalk(name),
      remove: (name) => this.nav.remove(name),
      hidden: (conversation, seq) => {
        this.hidden.of(conversation).add(seq);
        const room = this.rooms.get(conversation);
        room?.recall();
        if (room) this.changed(room);
      },
      complain: (text) => this.composer.complain(text),
      setRetention: (conversation, retention) => messages.setRetention(conversation, retention),
    });
    const { rooms, panes, list, log, composer } = this;
    this.inbox = new InboxList(inbox, rooms, this.me, {
      active: () => this.active,
      changed: () => this.schedule(),
      nowMs: () => messages.nowMs(),
      retentionOf: (name) => this.membership.retentionOf(name),
      moved: (name) => this.membership.moved(name),
      arrived: (title, { sender, text }) => sayMessage(`${sender} in ${title}: ${oneLine(text)}`),
      told: (room) => this.membership.look(room),
      problem: (error) => this.composer.complain(problemOf(error)),
      remove: (name) => this.nav.remove(name),
      notLoaded: () => this.notLoaded(),
    });
    const places = { rooms, panes, list, log, composer, order: () => this.inbox.order(), open: (name: string) => this.openTalk(name) };
    this.nav = new Navigation(places, (room) => this.show(room));
    this.showMe();
    this.listen();
    const { conversation, invitation } = link;
    if (conversation !== undefined && invitation !== undefined) this.membership.invite({ conversation, invitation });
    this.takeState(outbox.client.state);
    this.nav.start(invitation === undefined ? conversation : undefined);
  }

  private get active(): Room {
    return this.nav.active;
  }

  private talks(): TalkList {
    const key = `quoth.list.${this.me}`;
    return new TalkList({ get: () => kept.get(key), set: (value) => kept.set(key, value) }, STANDARD);
  }

  private showMe(): void {
    setText(byId("me-name"), this.me);
    setFace(byId("me-face"), this.me);
    byId("app").hidden = false;
    byId("signin").hidden = true;
  }

  private listen(): void {
    const { client } = this.outbox;
    client.onState((state) => this.takeState(state));
    client.onRtt(() => this.schedule());
    for (const change of ["online", "offline"]) addEventListener(change, () => this.schedule());
    addEventListener("focus", () => {
      this.log.check();
      this.askWhatIsGone();
    });
    document.addEventListener("visibilitychange", () => {
      this.schedule();
      this.log.check();
    });
    addEventListener("pagehide", () => this.save());
    setInterval(() => {
      this.askWhatIsGone();
      this.logChanged = true;
      this.schedule();
    }, CLOCK_MS);
    byId("help-open").addEventListener("click", help);
    byId("sign-out").addEventListener("click", () => this.signOut());
    for (const dialog of document.querySelectorAll("dialog")) closeByClickBeside(dialog);
    listenToKeys({
      neighbour: (step) => this.nav.neighbour(step),
      openField: () => this.nav.openField(),
      escape: () => this.nav.escape(),
      cycle: (step) => this.nav.cycle(step),
      write: () => this.composer.focus(),
      page: (step) => this.log.page(step),
      help,
    });
  }

  /** With what is loaded when it is first asked for. */
  private withDeeds(does: (deeds: MessageDeeds) => void): void {
    const { log, composer } = this;
    const hooks = { active: () => this.active, reply: (seq: number) => this.reply(seq), problemOf };
    this.deeds ??= import("./extra.js").then((extra) => new extra.MessageDeeds(this.connected.messages, log, composer, hooks));
    this.deeds.then(does, () => this.notLoaded());
  }

  private notLoaded(): void {
    this.deeds = undefined;
    this.composer.complain("This could not be loaded: try again when the server can be reached.");
  }

  /** What is written next answers this message. */
  private reply(seq: number): void {
    const message = this.active.message(seq);
    if (message) this.composer.answer({ seq, sender: message.sender, text: this.active.nowOf(seq)?.edited?.text ?? message.text });
  }

  /** Shows a conversation, which is opened if it is not. */
  private openTalk(name: string): void {
    if (this.rooms.add(name, this.inbox.readOf(name))) this.nav.open(name);
  }

  /** Another conversation has become the active one. */
  private show(room: Room): void {
    if (this.inbox.has(room.name) || room.talk.title !== undefined || room.name.includes("/")) this.membership.look(room);
    this.composer.show(room.title, this.drafts.get(room.name));
    this.blank.render(room);
    this.log.show(room, room.enter());
    this.renderNow();
  }

  /** The conversation has come on the screen, where there is room for one view only. */
  private roomShown(): void {
    this.log.render(this.active.enter());
    this.schedule();
  }

  private async send(text: string, replyTo: number | undefined, expiresInMs: number): Promise<void> {
    const room = this.active;
    const mentions = calledBy(text, room.callable);
    try {
      await this.rooms.send(room, text, { replyTo, ...(mentions.length > 0 && { mentions }), ...(expiresInMs > 0 && { expiresInMs }) });
    } catch (error) {
      if (room !== this.active || this.composer.text.value !== "") return;
      this.composer.show(room.title, text, expiresInMs);
      this.composer.complain(error instanceof Error ? error.message : String(error));
      return;
    }
    if (room !== this.active) return;
    if (room.timeline.attached) this.log.render("end");
    else void room.history.toLatest();
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
    if (!this.looking() || !this.active.markSeen(seq)) return;
    this.saveSoon();
    this.schedule();
  }

  private changed(room: Room): void {
    if (room === this.nav?.active) this.logChanged = true;
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
    sayMessage(room === this.active ? `${message.sender}: ${line}` : `${message.sender} in ${room.title}: ${line}`);
  }

  private takeState(state: State): void {
    this.rooms.setConnected(state.name === "connected");
    clearInterval(this.countdown);
    if (state.name === "connected") {
      this.everConnected = true;
      this.membership.connected();
      // The first round trip is measured while the page is busy with its start.
      setTimeout(() => this.outbox.client.state.name === "connected" && this.outbox.client.wake(), SETTLED_MS);
    } else if (state.name === "disconnected") {
      this.countdown = setInterval(() => this.schedule(), COUNTDOWN_MS);
    } else if (state.name === "closed" && isAboutToken(state.reason.code)) {
      this.signOut(state.reason.message);
    }
    this.schedule();
  }

  /** Another window or a device of the user's has ended this page's connection: the token is still good. */
  private get isPutOut(): boolean {
    const { state } = this.outbox.client;
    return state.name === "closed" && ["KICKED", "REPLACED"].includes(state.reason.code);
  }

  private link(): ConnectionLink {
    const { client } = this.outbox;
    const { state } = client;
    if (state.name === "connected") {
      return { name: "connected", rttMs: client.rttMs, transport: client.transport, durability: client.welcome?.durability };
    }
    if (state.name === "closed") return { name: "ended", reason: closedText(state.reason.code, state.reason.message) };
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
    const dueMs = Math.min(...this.rooms.all.map((one) => one.expire(this.connected.messages.nowMs())));
    this.items = this.inbox.items(hintOf);
    this.renderWhenDue(Math.min(dueMs, this.inbox.dueMs));
    this.list.render(this.items, nowMs);
    this.list.checkEnd();
    const { name, title, roster, info } = room;
    const members = { members: info?.members, canLeave: rightsOf(info).leave };
    this.head.render({ name, title, ...members, me: this.me, roster, head: room.timeline.head, trouble: troubleOf(room) });
    this.composer.call(title);
    const { replyTo } = this.composer;
    if (replyTo !== undefined && room.isAbsent(replyTo)) this.composer.answer(undefined);
    this.composer.showTypings(room.typings);
    this.composer.allow(this.whyReadOnly(room));
    this.status.render(this.link(), this.rooms.waiting, nowMs);
    this.blank.render(room);
    if (this.logChanged) this.log.render();
    this.logChanged = false;
    this.showUnread();
  }

  private askWhatIsGone(): void {
    if (this.outbox.client.state.name === "connected" && document.visibilityState === "visible") void this.active.askWhatIsGone();
  }

  /** Nothing tells when something expires: it is looked for when the next thing does. */
  private renderWhenDue(dueMs: number): void {
    clearTimeout(this.due);
    if (dueMs === Infinity) return;
    const inMs = Math.max(0, dueMs - this.connected.messages.nowMs());
    this.due = setTimeout(() => this.schedule(), Math.min(inMs + 1, TIMEOUT_MAX_MS));
  }

  private whyReadOnly(room: Room): string | undefined {
    if (room.left) return "You are not in this conversation any more.";
    if (room.state.name === "ended" && room.state.error.code === "FORBIDDEN") return "";
    const { write } = this.session.claims;
    const rights = rightsOf(room.info);
    if (room.info && room.info.mutedUntilMs > Date.now() && !rights.moderate) return "Only moderators may write here for now.";
    const mayWrite = room.info ? rights.write && (!write || matches(write, room.name)) : matches(write ?? [], room.name);
    return mayWrite ? undefined : "You can read here, but not write.";
  }

  private showUnread(): void {
    const unread = this.items.reduce((sum, item) => sum + (item.muted || item.archived ? item.mentions : item.unread), 0);
    const title = titleOf(unread);
    if (document.title !== title) document.title = title;
    const icon = byId<HTMLLinkElement>("icon");
    const href = unread > 0 ? "favicon-unread.svg" : "favicon.svg";
    if (icon.getAttribute("href") !== href) icon.setAttribute("href", href);
    const elsewhere = unread - this.active.unread;
    byId("back-badge").hidden = elsewhere === 0;
    setText(byId("back-badge"), badge(elsewhere));
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

const isAboutToken = (code: string): boolean => code === "SIGNED_OUT" || code.startsWith("TOKEN_");

function troubleOf(room: Room): string | undefined {
  if (room.state.name === "ended" && room.state.error.code !== "FORBIDDEN")
    return `Nothing new comes here: ${room.state.error.message}`;
  return room.interrupted ? "The server has trouble sending what comes next…" : undefined;
}

/** What the list says of a conversation without a message. */
function hintOf(room: Room): string {
  if (room.state.name === "opening") return "";
  if (room.state.name === "open") return room.hasLost ? "No messages left" : "No messages yet";
  return room.state.error.code === "FORBIDDEN" ? "No access" : "Stopped";
}
