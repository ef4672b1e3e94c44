/** From a page that has just come to somebody who is signed in. */

import type { Members } from "../../src/members/index.js";
import type { Inbox, Messages } from "../../src/messages/index.js";
import type { Outbox } from "../../src/outbox/index.js";
import { App } from "./app.js";
import type { Link } from "./model/fragment.js";
import { devToken, findSession, forget, sessionOf, type Session } from "./session.js";
import { windowKept } from "./storage.js";
import { showSignIn } from "./view/signin.js";

/** What a session has once its client is made. */
export interface Connected {
  outbox: Outbox;
  members: Members;
  messages: Messages;
  inbox: Inbox;
}

/** Signs in: makes the client and the outbox of a session. */
export type Connect = (session: Session) => Promise<Connected>;

const PROBLEM_KEY = "quoth.problem";
/** How long signing out waits for the acks of what has just been sent; the rest stays in the outbox. */
const LEAVE_MS = 1000;

export function boot(connect: Connect): void {
  // A link that is opened in a window that has the page already changes nothing but the fragment.
  addEventListener("hashchange", () => /[#&](token|conversation)=/u.test(location.hash) && location.reload());
  const { session, link, problem } = findSession();
  if (session) void enter(connect, session, link);
  else ask(connect, link, problem ?? takeProblem());
}

function ask(connect: Connect, link: Link, problem: string | undefined): void {
  showSignIn(
    {
      withToken: (token) => {
        const session = sessionOf(token);
        if (!session) return "That is no token. A token has three parts with dots between them.";
        void enter(connect, session, link);
        return undefined;
      },
      asUser: async (user) => {
        const token = await devToken(user);
        const session = token === undefined ? undefined : sessionOf(token);
        if (!session) return "The server gives no token for this name.";
        void enter(connect, session, link);
        return undefined;
      },
      isDevelopment: async () => (await devToken("alice")) !== undefined,
    },
    problem,
  );
}

async function enter(connect: Connect, session: Session, link: Link): Promise<void> {
  const connected = await connect(session);
  const { outbox } = connected;
  let leaving = false;
  new App(session, connected, link, (why) => {
    if (leaving) return;
    leaving = true;
    forget();
    windowKept.set(PROBLEM_KEY, why);
    // A fresh page is the surest way to leave nothing of one user to the next.
    const soon = new Promise((resolve) => setTimeout(resolve, LEAVE_MS));
    void Promise.race([outbox.close(), soon]).finally(() => location.reload());
  });
}

function takeProblem(): string | undefined {
  const problem = windowKept.get(PROBLEM_KEY);
  windowKept.set(PROBLEM_KEY, undefined);
  return problem;
}
