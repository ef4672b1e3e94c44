/** The name of the conversation that is shown, who is in it, and the dialog that lists them. */

import type { Roster } from "../../../src/index.js";
import { isolated, nameList } from "../model/text.js";
import { byId, face, h, nameNode, setFace, setText } from "./dom.js";

const FACES = 4;

export interface RoomHead {
  name: string;
  /** For people. */
  title: string;
  /** How many members it has; none for a conversation without. */
  members: number | undefined;
  /** Whether the user can leave it, rather than only take it off the list. */
  canLeave: boolean;
  me: string;
  roster: Roster | undefined;
  /** The conversation's last seq, to say who has read all. */
  head: number;
  trouble: string | undefined;
}

export class RoomHeadView {
  private readonly name = byId("room-name");
  private readonly face = byId("room-face");
  private readonly sub = byId("room-sub");
  private readonly people = byId<HTMLButtonElement>("people-open");
  private readonly dialog = byId<HTMLDialogElement>("people");
  private readonly list = byId("people-list");
  private readonly more = byId("people-more");
  private told = "";
  private shown: RoomHead | undefined;

  /** `leave` gives what is wrong, or nothing. `opens` and `closes` tell of the dialog. */
  constructor(leave: () => Promise<string | undefined>, opens: () => void, closes: () => void) {
    this.people.addEventListener("click", () => {
      this.drawPeople();
      opens();
      this.dialog.showModal();
    });
    this.dialog.addEventListener("close", closes);
    byId("leave").addEventListener("click", () => {
      void leave().then((wrong) => {
        setText(byId("leave-problem"), wrong ?? "");
        if (wrong === undefined) this.dialog.close();
      });
    });
  }

  render(room: RoomHead): void {
    this.shown = room;
    const told = JSON.stringify([room.title, room.members, room.canLeave, room.roster, room.trouble, room.head]);
    if (told === this.told) return;
    this.told = told;
    if (this.name.textContent !== room.title) {
      this.name.replaceChildren(nameNode(room.title));
      setFace(this.face, room.title);
    }
    setText(byId("leave"), room.canLeave ? "Leave" : "Remove from my list");
    setText(this.sub, room.trouble ?? [membersText(room.members), whoIsHere(room)].filter(Boolean).join(" · "));
    this.drawButton(room);
    if (this.dialog.open) this.drawPeople();
  }

  private drawButton({ roster }: RoomHead): void {
    const users = roster?.users ?? 0;
    const faces = h(
      "span",
      { class: "faces", "aria-hidden": "true" },
      ...(roster?.present.slice(0, FACES) ?? []).map(({ user }) => face(user)),
    );
    this.people.replaceChildren(
      ...(users > 0
        ? [faces, h("span", { class: "sr" }, "Who is here: "), h("span", {}, String(users))]
        : [h("span", { "aria-hidden": "true" }, "⋯"), h("span", { class: "sr" }, "About this conversation")]),
    );
    this.people.title = users > 0 ? "Who is here" : "About this conversation";
  }

  private drawPeople(): void {
    setText(byId("leave-problem"), "");
    const { roster, head, me } = this.shown ?? { roster: undefined, head: 0, me: "" };
    this.list.replaceChildren(
      ...[...(roster?.present ?? [])]
        .sort((a, b) => Number(b.user === me) - Number(a.user === me))
        .map(({ user, seen }) =>
          h(
            "li",
            {},
            face(user),
            h("span", { class: "who" }, nameNode(user)),
            h(
              "span",
              { class: "hint" },
              user === me
                ? "you"
                : seen === 0
                  ? ""
                  : seen >= head
                    ? "has read all"
                    : `${(head - seen).toLocaleString("en")} behind`,
            ),
          ),
        ),
    );
    const rest = (roster?.users ?? 0) - (roster?.present.length ?? 0);
    setText(
      this.more,
      !roster ? "The server does not tell who is here at the moment." : rest > 0 ? `and ${rest.toLocaleString("en")} more` : "",
    );
  }
}

const membersText = (members: number | undefined): string =>
  members === undefined ? "" : members === 1 ? "1 member" : `${members.toLocaleString("en")} members`;

function whoIsHere({ roster, me }: RoomHead): string {
  if (!roster) return "";
  const others = roster.present.flatMap((one) => (one.user === me ? [] : [isolated(one.user)]));
  if (roster.users <= 1 || others.length === 0) return "Only you are here";
  const hidden = Math.max(0, roster.users - 1 - others.length);
  const names =
    hidden === 0
      ? nameList(others, 3)
      : `${others.slice(0, 3).join(", ")} and ${roster.users - 1 - Math.min(3, others.length)} others`;
  return `${names} ${roster.users === 2 ? "is" : "are"} here`;
}
