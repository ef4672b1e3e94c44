/** Which conversation is shown, and all ways from one to another. */

import { TALKS_MAX } from "./model/talks.js";
import { nameProblem } from "./model/token.js";
import type { Panes } from "./panes.js";
import type { Room } from "./room.js";
import type { Rooms } from "./rooms.js";
import type { ComposerView } from "./view/composer.js";
import { byId, setText } from "./view/dom.js";
import type { ListView } from "./view/list.js";
import type { LogView } from "./view/log.js";

/** There is always one conversation in the list. */
export const STANDARD = "general";

export interface Places {
  rooms: Rooms;
  panes: Panes;
  list: ListView;
  log: LogView;
  composer: ComposerView;
  /** The names of the list, in order. */
  order(): string[];
  /** Shows a conversation, which is opened if it is not. */
  open(name: string): void;
}

export class Navigation {
  active!: Room;
  private readonly field = byId<HTMLInputElement>("open-name");
  private readonly problem = byId("open-problem");

  constructor(
    private readonly places: Places,
    /** Another conversation is to be drawn. */
    private readonly changed: (room: Room) => void,
  ) {
    byId<HTMLFormElement>("open-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.openTyped();
    });
    this.field.addEventListener("input", () => setText(this.problem, ""));
    byId("back").addEventListener("click", () => places.panes.back());
  }

  /** Where to begin: with what a link asks for, where this window was, or with the latest. */
  start(asked: string | undefined): void {
    const { rooms, panes } = this.places;
    const linked = asked !== undefined && nameProblem(asked) === undefined ? rooms.add(asked) : undefined;
    const latest = rooms.talks.sorted().find(({ timeMs }) => timeMs > 0);
    const first = linked ?? rooms.get(panes.remembered ?? "") ?? rooms.get(latest?.name ?? STANDARD) ?? rooms.all[0];
    this.activate(first as Room);
    if (linked) panes.enter(linked.name);
    if (panes.roomVisible) this.write();
  }

  /** The user asks for a conversation of the list. */
  open(name: string): void {
    const room = this.places.rooms.get(name);
    if (!room) return;
    if (room !== this.active) this.activate(room);
    this.places.panes.enter(name);
    this.write();
  }

  remove(name: string): void {
    const { rooms, panes, list } = this.places;
    if (rooms.all.length === 1 && name === STANDARD) return;
    const order = this.places.order();
    const at = order.indexOf(name);
    rooms.remove(name);
    if (rooms.all.length === 0) rooms.add(STANDARD);
    const next = order.slice(at + 1).find((one) => rooms.get(one)) ?? order.slice(0, Math.max(0, at)).reverse().find((one) => rooms.get(one));
    this.activate((rooms.get(next ?? STANDARD) ?? rooms.all[0]) as Room);
    panes.back();
    list.focus();
  }

  neighbour(step: number): void {
    const names = this.places.order();
    const next = names[names.indexOf(this.active.name) + step];
    if (next !== undefined) this.places.open(next);
  }

  openField(): void {
    this.places.panes.back();
    this.field.focus();
    this.field.select();
  }

  /** One step back: out of the field, to the latest message, to the list. */
  escape(): void {
    const { log, panes, list, composer } = this.places;
    if (document.activeElement === this.field) {
      this.field.value = "";
      setText(this.problem, "");
    } else if (!log.isAtEnd) {
      log.toEnd();
    } else if (panes.narrow && panes.roomVisible) {
      panes.back();
      list.focus();
      return;
    }
    composer.focus();
  }

  /** From the list to the messages to the text, and around. */
  cycle(step: number): void {
    const { list, log, composer } = this.places;
    const stops = [
      { node: byId("side"), focus: () => list.focus() },
      { node: log.scroller, focus: () => log.scroller.focus() },
      { node: byId("composer"), focus: () => composer.focus() },
    ].filter(({ node }) => node.offsetParent !== null);
    const at = stops.findIndex(({ node }) => node.contains(document.activeElement));
    stops[(at + step + stops.length) % stops.length]?.focus();
  }

  private activate(room: Room): void {
    const before = this.active as Room | undefined;
    this.active = room;
    before?.leave();
    this.places.panes.remember(room.name);
    this.changed(room);
  }

  private openTyped(): void {
    const name = this.field.value.trim();
    const full = `The list is full: at most ${TALKS_MAX} conversations. Remove one first.`;
    const problem = nameProblem(name) ?? (this.places.rooms.add(name) ? undefined : full);
    setText(this.problem, problem ?? "");
    if (problem !== undefined) return;
    this.field.value = "";
    this.open(name);
  }

  /** Not where the focus brings a keyboard up over half of the screen. */
  private write(): void {
    if (matchMedia("(pointer: fine)").matches) this.places.composer.focus();
  }
}
