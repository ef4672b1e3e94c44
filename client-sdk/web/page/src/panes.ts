/**
 * On a narrow screen the list and the conversation are two views. Entering a conversation is a step in the
 * browser's history, so the device's own way back leads to the list.
 */

import { windowKept } from "./storage.js";
import { byId } from "./view/dom.js";

const NARROW = "(max-width: 719px)";
const ACTIVE_KEY = "quoth.active";

export class Panes {
  private readonly app = byId("app");
  private readonly query = matchMedia(NARROW);

  constructor(private readonly shown: () => void) {
    this.app.classList.toggle("in-room", this.inRoom);
    addEventListener("popstate", () => this.follow());
    this.query.addEventListener("change", () => this.follow());
  }

  get narrow(): boolean {
    return this.query.matches;
  }

  get roomVisible(): boolean {
    return !this.narrow || this.inRoom;
  }

  enter(name: string): void {
    if (this.narrow && !this.inRoom) history.pushState({ room: name }, "");
    this.follow();
  }

  back(): void {
    if (this.narrow && this.inRoom) history.back();
  }

  /** The conversation that this window has shown last. */
  get remembered(): string | undefined {
    return windowKept.get(ACTIVE_KEY);
  }

  remember(name: string): void {
    windowKept.set(ACTIVE_KEY, name);
  }

  private get inRoom(): boolean {
    return (history.state as { room?: unknown } | null)?.room !== undefined;
  }

  private follow(): void {
    const before = this.app.classList.contains("in-room");
    this.app.classList.toggle("in-room", this.inRoom);
    if (this.roomVisible && !before) this.shown();
  }
}
