/** The banner above everything while there is no connection, and the small status line beside one's name. */

import { bannerOf, spoken, statusOf, type Link } from "../model/connection.js";
import { byId, h, setText } from "./dom.js";
import { say } from "./say.js";

export class StatusView {
  private readonly banner = byId("banner");
  private readonly text = byId("banner-text");
  private readonly action = byId<HTMLButtonElement>("banner-action");
  private readonly status = byId("status");
  private toldStatus = "";
  private toldSpoken = "Connected";

  constructor(now: () => void, reload: () => void) {
    this.action.addEventListener("click", () => (this.action.dataset.does === "reload" ? reload() : now()));
  }

  render(link: Link, waiting: number, nowMs: number): void {
    const banner = bannerOf(link, waiting, nowMs);
    this.banner.hidden = banner === undefined;
    if (banner) {
      this.banner.classList.toggle("bad", banner.bad);
      setText(this.text, banner.text);
      this.action.hidden = banner.action === undefined;
      this.action.dataset.does = banner.action ?? "";
      setText(this.action, banner.action === "reload" ? "Sign in again" : "Try now");
    }
    this.drawStatus(link);
    const words = spoken(link);
    if (words !== this.toldSpoken && !(link.name === "connecting" && link.first)) {
      // A way through "connecting" and back is not worth two sentences.
      if (link.name !== "connecting") say(words);
      if (link.name !== "connecting") this.toldSpoken = words;
    }
  }

  private drawStatus(link: Link): void {
    const status = statusOf(link);
    const told = JSON.stringify(status);
    if (told === this.toldStatus) return;
    this.toldStatus = told;
    this.status.replaceChildren(
      h("span", { class: `dot ${status.dot}`, "aria-hidden": "true" }),
      // The spaces are for screen readers; what is seen between the parts is drawn.
      ...status.parts.flatMap((part) => [" ", h("span", { class: "part", title: part.title }, part.text)]),
    );
  }
}
