/** The rows of the log as nodes: makes what is new, brings up to date what stands, lets go of the rest. */

import type { Day } from "../model/rows.js";
import { dayLabel } from "../model/times.js";
import { arrange, byId, h, setText } from "./dom.js";
import { makeRow, patchRow, type RowNode } from "./message.js";

interface DayNode {
  node: HTMLElement;
  list: HTMLOListElement;
  label: HTMLElement;
}

export class LogRows {
  readonly root = byId("rows");
  private rows = new Map<string, RowNode>();
  private days = new Map<string, DayNode>();

  clear(): void {
    this.rows.clear();
    this.days.clear();
    this.root.replaceChildren();
  }

  draw(days: readonly Day[], nowMs: number): void {
    const hadFocus = this.root.contains(document.activeElement);
    const rows = new Map<string, RowNode>();
    const held = new Map<string, DayNode>();
    const nodes = days.map((day) => {
      const dayNode = this.days.get(day.key) ?? makeDay();
      held.set(day.key, dayNode);
      setText(dayNode.label, dayLabel(day.dayMs, nowMs));
      arrange(
        dayNode.list,
        day.rows.map((row) => {
          const known = this.rows.get(row.key);
          if (known) patchRow(known, row);
          const rowNode = known ?? makeRow(row);
          rows.set(row.key, rowNode);
          return rowNode.node;
        }),
      );
      return dayNode.node;
    });
    arrange(this.root, nodes);
    // The row that had it is gone.
    if (hadFocus && document.activeElement === document.body) this.root.closest<HTMLElement>("[role=log]")?.focus({ preventScroll: true });
    this.rows = rows;
    this.days = held;
  }

  /** The first row that reaches below `edge`, of the screen's pixels, and where it begins. */
  firstBelow(edge: number): { node: HTMLElement; top: number } | undefined {
    for (const day of this.root.children) {
      if (day.getBoundingClientRect().bottom <= edge) continue;
      for (const node of day.querySelectorAll<HTMLElement>("li[data-seq]")) {
        const box = node.getBoundingClientRect();
        if (box.bottom > edge) return { node, top: box.top };
      }
    }
    return undefined;
  }

  /** The seq of the last row whose beginning is above `edge`. */
  lastBegunAbove(edge: number): number | undefined {
    const rows = this.root.querySelectorAll<HTMLElement>("li[data-seq]");
    for (let i = rows.length - 1; i >= 0; i--) {
      const row = rows[i] as HTMLElement;
      const box = row.getBoundingClientRect();
      if (box.top + Math.min(box.height, BEGINNING_PX) <= edge) return Number(row.dataset.seq);
    }
    return undefined;
  }

  get unreadLine(): HTMLElement | null {
    return this.root.querySelector<HTMLElement>(".new-line");
  }

  /** The row of `seq`, or the first one behind it. */
  rowFrom(seq: number): HTMLElement | undefined {
    return [...this.root.querySelectorAll<HTMLElement>("li[data-seq]")].find((row) => Number(row.dataset.seq) >= seq);
  }

  row(seq: number): HTMLElement | undefined {
    return this.rows.get(`m${seq}`)?.node;
  }
}

/** So much of a long message must be there for it to have begun. */
const BEGINNING_PX = 40;

function makeDay(): DayNode {
  const label = h("span");
  const list = h("ol");
  return { node: h("section", { class: "day" }, h("h3", {}, label), list), list, label };
}
