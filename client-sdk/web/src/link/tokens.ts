/** Where tokens come from: one for good, or a function that gets a fresh one. */
import type { ConnectOptions, TokenWanted } from "../api.js";
import type { Env } from "../env.js";
import { QuothError } from "../error.js";

/** What the function may take. Outcome: the attempt to sign in, or to renew, has failed. */
const TOKEN_TIMEOUT_MS = 30_000;
/** From one answer of the function to the next question while a token is renewed. */
const RENEWAL_PAUSE_MS = 10_000;

export class Tokens {
  private present = "";
  private cancelRenewal: (() => void) | undefined;
  private renewals = 0;

  constructor(
    private readonly source: ConnectOptions["token"],
    private readonly env: Env,
  ) {}

  /** Whether asking again can give another token. */
  get canRenew(): boolean {
    return typeof this.source === "function";
  }

  /** A token for a sign-in. Rejects with whatever the function throws. */
  async get(why: TokenWanted): Promise<string> {
    this.present = await this.ask(why);
    return this.present;
  }

  /**
   * The token in force is about to end: asks until there is another one, which `send` gets. When none comes
   * until the end, the server closes with TOKEN_EXPIRED, and the next sign-in asks.
   */
  renew(send: (token: string) => void): void {
    if (!this.canRenew) return;
    this.stopRenewal();
    const renewal = this.renewals;
    const again = () => {
      if (renewal === this.renewals) this.cancelRenewal = this.env.after(RENEWAL_PAUSE_MS, () => this.renew(send));
    };
    this.ask("expiring").then((token) => {
      if (renewal !== this.renewals) return;
      if (token === this.present) return again();
      this.present = token;
      send(token);
    }, again);
  }

  /** The connection is gone. */
  stopRenewal(): void {
    this.renewals += 1;
    this.cancelRenewal?.();
    this.cancelRenewal = undefined;
  }

  private async ask(why: TokenWanted): Promise<string> {
    if (typeof this.source === "string") return this.source;
    let cancel = () => {};
    const late = new Promise<never>((_, reject) => {
      const error = new QuothError("NO_TOKEN", "the token function did not answer in time", true);
      cancel = this.env.after(TOKEN_TIMEOUT_MS, () => reject(error));
    });
    try {
      const token = await Promise.race([this.source(why), late]);
      if (typeof token !== "string") throw new QuothError("NO_TOKEN", `the token function gave ${typeof token}, not a text`, false);
      return token;
    } finally {
      cancel();
    }
  }
}
