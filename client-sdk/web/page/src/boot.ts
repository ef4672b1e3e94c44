/** From a page that has just come to somebody who is signed in. */

import type { Outbox } from "../../src/outbox/index.js";
import { App } from "./app.js";
import { devToken, findSession, forget, sessionOf, type Session } from "./session.js";
import { windowKept } from "./storage.js";
import { showSignIn } from "./view/signin.js";

/** Signs in: makes the client and the outbox of a session. */
export type Connect = (session: Session) => Promise<Outbox>;

const PROBLEM_KEY = "quoth.problem";
/** How long signing out waits for the acks of what has just been sent; the rest stays in the outbox. */
const LEAVE_MS = 1000;

export function boot(connect: Connect): void {
  // A link that is opened in a window that has the page already changes nothing but the fragment.
  addEventListener("hashchange", () => location.hash.includes("token=") && location.reload());
  const { session, conversation, problem } = findSession();
  if (session) void enter(connect, session, conversation);
  else ask(connect, conversation, problem ?? takeProblem());
}

function ask(connect: Connect, conversation: string | undefined, problem: string | undefined): void {
  showSignIn(
    {
      withToken: (token) => {
        const session = sessionOf(token);
        if (!session) return "That is no token. A token has three parts with dots between them.";
        void enter(connect, session, conversation);
        return undefined;
      },
      asUser: async (user) => {
        const token = await devToken(user);
        const session = token === undefined ? undefined : sessionOf(token);
        if (!session) return "The server gives no token for this name.";
        void enter(connect, session, conversation);
        return undefined;
      },
      isDevelopment: async () => (await devToken("alice")) !== undefined,
    },
    problem,
  );
}

async function enter(connect: Connect, session: Session, conversation: string | undefined): Promise<void> {
  const outbox = await connect(session);
  let leaving = false;
  new App(session, outbox, conversation, (why) => {
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
