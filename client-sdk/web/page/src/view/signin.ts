/** The form for those who have no token, or one that is not taken. */

import { byId, setText } from "./dom.js";

export interface SignInHooks {
  /** Returns what is wrong with the token, or nothing. */
  withToken(token: string): string | undefined;
  /** Asks the development server for a user's token. */
  asUser(user: string): Promise<string | undefined>;
  /** Whether this is a development server. */
  isDevelopment(): Promise<boolean>;
}

export function showSignIn(hooks: SignInHooks, problem: string | undefined): void {
  const view = byId("signin");
  const why = byId("signin-why");
  const tokenForm = byId<HTMLFormElement>("token-form");
  const tokenField = byId<HTMLTextAreaElement>("token");
  const tokenProblem = byId("token-problem");
  const devForm = byId<HTMLFormElement>("dev-form");
  const devField = byId<HTMLInputElement>("dev-user");

  byId("app").hidden = true;
  view.hidden = false;
  const complain = (text: string): void => {
    why.classList.add("bad");
    setText(why, text);
  };
  if (problem !== undefined) complain(problem);

  tokenForm.onsubmit = (event) => {
    event.preventDefault();
    setText(tokenProblem, hooks.withToken(tokenField.value.trim()) ?? "");
  };
  const sign = (user: string): void => {
    if (user === "") return;
    hooks.asUser(user).then(
      (wrong) => wrong !== undefined && complain(wrong),
      () => complain("The server cannot be reached. Is it running?"),
    );
  };
  devForm.onsubmit = (event) => {
    event.preventDefault();
    sign(devField.value.trim());
  };
  devForm.onclick = (event) => {
    const user = (event.target as HTMLElement).dataset.user;
    if (user !== undefined) sign(user);
  };

  // On a phone the focus would bring the keyboard up over the form.
  const pointer = matchMedia("(pointer: fine)").matches;
  if (pointer) tokenField.focus();
  hooks.isDevelopment().then(
    (yes) => {
      if (!yes) return;
      devForm.hidden = false;
      if (pointer && tokenField.value === "") devField.focus();
    },
    () => undefined,
  );
}
