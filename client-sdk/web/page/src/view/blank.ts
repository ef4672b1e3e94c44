/** What stands where messages would be: while they come, when there are none, when there will be none. */

import { endingOf } from "../model/refusals.js";
import type { Room } from "../room.js";
import { byId, face, h, icon, nameNode } from "./dom.js";

export interface BlankHooks {
  /** Tries to read the conversation again. */
  again(): void;
  /** Takes it off the list. */
  remove(): void;
  /** Joins a conversation that anybody may join. */
  join(): void;
  /** Asks for older messages again. */
  older(): void;
}

export class BlankView {
  private readonly view = byId("blank");
  private readonly log = byId("log");
  private readonly top = byId("log-top");
  private told = "";
  private toldTop = "";

  constructor(private readonly hooks: BlankHooks) {
    this.view.addEventListener("click", (event) => {
      const does = (event.target as Element).closest("button")?.dataset.does;
      if (does === "again") this.hooks.again();
      if (does === "remove") this.hooks.remove();
      if (does === "join") this.hooks.join();
    });
    this.top.addEventListener("click", (event) => {
      if ((event.target as Element).closest("button")) this.hooks.older();
    });
  }

  render(room: Room): void {
    const kind = kindOf(room);
    const told = `${room.name}\n${kind}`;
    if (told !== this.told) {
      this.told = told;
      this.view.hidden = kind === "none";
      this.log.hidden = kind !== "none";
      this.view.replaceChildren(...nodesOf(room, kind));
    }
  }

  /** What stands above the first message that is held. It is as high while it loads as when it waits. */
  renderTop(room: Room): void {
    const start = room.timeline.atStart && room.timeline.entries.length > 0;
    const begins = room.hasBeginning;
    const told = `${room.title}\n${start}\n${begins}\n${room.history.older === "failed"}\n${room.timeline.entries.length > 0}`;
    if (told === this.toldTop) return;
    this.toldTop = told;
    if (room.history.older === "failed")
      this.top.replaceChildren(
        "Older messages could not be loaded. ",
        h("button", { class: "quiet", type: "button" }, "Try again"),
      );
    else if (start)
      this.top.replaceChildren(
        h(
          "div",
          { class: "begin" },
          face(room.title, "tile"),
          h("strong", {}, nameNode(room.title)),
          h("span", {}, begins ? "This is where the conversation begins." : "Earlier messages are gone."),
        ),
      );
    else if (room.timeline.entries.length > 0)
      this.top.replaceChildren(h("span", { class: "spin", role: "img", "aria-label": "Loading older messages" }));
    else this.top.replaceChildren();
  }
}

function kindOf(room: Room): string {
  const held = !room.isBare;
  // What has been read stays to be read, unless the right to read it is gone.
  const isBarred = room.state.name === "ended" && room.state.error.code === "FORBIDDEN" && !room.left;
  if (room.state.name === "ended" && (!held || isBarred)) return `ended ${room.state.error.code} ${room.isOpen}`;
  if (room.outgoing.shown().length > 0 || held) return "none";
  if (room.state.name === "opening") return "opening";
  return room.timeline.head > 0 ? "gone" : "empty";
}

function nodesOf(room: Room, kind: string): Node[] {
  if (kind === "none") return [];
  if (kind === "opening") {
    const bones = h("div", { class: "bones", "aria-hidden": "true" });
    for (let i = 0; i < 4; i++) bones.append(h("div", { class: "bone" }));
    return [bones, h("p", { class: "sr" }, "Loading messages")];
  }
  if (room.state.name === "ended") {
    const ending = endingOf(room.state.error.code, room.title, room.state.error.message, room.isOpen);
    return [
      icon(ending.icon),
      h("h3", {}, ending.title),
      h("p", { dir: "auto" }, ending.text),
      h(
        "button",
        { class: "primary", type: "button", dataset: { does: ending.action } },
        { again: "Try again", remove: "Remove from my list", join: "Join" }[ending.action],
      ),
    ];
  }
  if (kind === "gone")
    return [
      icon("quill"),
      h("h3", {}, "Nothing is kept here any more"),
      h("p", {}, "Earlier messages have expired. What you write is kept as long as the server keeps it."),
    ];
  return [
    icon("quill"),
    h("h3", {}, "A blank page"),
    h("p", {}, "Nobody has said anything in ", nameNode(room.title), " yet. The first word is yours."),
  ];
}
