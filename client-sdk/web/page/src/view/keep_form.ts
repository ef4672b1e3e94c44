/** In which it is said how long messages are kept, by those who may. */

import type { Retention } from "../../../src/messages/index.js";
import { span } from "../model/deeds.js";
import { ageOptions, isShorter } from "../model/keep.js";
import { byId, h, setText } from "./dom.js";

const SURE = "Really set? What is older goes for good";

export class KeepForm {
  private readonly form = byId<HTMLFormElement>("keep-form");
  private readonly age = byId<HTMLSelectElement>("keep-age");
  private readonly count = byId<HTMLInputElement>("keep-count");
  private readonly button = byId<HTMLButtonElement>("keep-set");
  private retention: Retention | undefined;
  /** Something is chosen and not set. */
  private isTouched = false;

  /** `set` says whether it was done. */
  constructor(private readonly set: (retention: Retention) => Promise<boolean>) {
    this.form.addEventListener("input", () => {
      this.isTouched = true;
      setText(this.button, "Set");
    });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.submit();
    });
  }

  /** Forgets what was chosen. */
  reset(): void {
    this.isTouched = false;
    setText(this.button, "Set");
  }

  /** `undefined`: it is not this user's to say. */
  draw(retention: Retention | undefined): void {
    this.retention = retention;
    this.form.hidden = retention === undefined;
    if (!retention || this.isTouched) return;
    this.age.replaceChildren(
      ...ageOptions(retention.ageS).map((ageS) => {
        const option = h("option", {}, ageS === 0 ? "for ever" : `for ${span(ageS)}`);
        option.value = String(ageS);
        return option;
      }),
    );
    this.age.value = String(retention.ageS);
    this.count.value = retention.count > 0 ? String(retention.count) : "";
  }

  private async submit(): Promise<void> {
    if (!this.retention) return;
    const wanted = { ...this.retention, ageS: Number(this.age.value), count: Number(this.count.value) };
    if (isShorter(wanted, this.retention) && this.button.textContent !== SURE) return setText(this.button, SURE);
    if (await this.set(wanted)) this.reset();
  }
}
