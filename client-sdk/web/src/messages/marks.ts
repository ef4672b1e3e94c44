/** How far this device has received and its user has read: gathered, and said now and then. */
import type { Env } from "../env.js";
import { QuothError } from "../error.js";

/** At most so often it is said of a conversation. The server stores it at most once a second. */
const MARK_INTERVAL_MS = 2_000;

interface UpTo {
  readonly delivered: number;
  readonly read: number;
}

interface Entry {
  wanted: UpTo;
  told: UpTo;
  /** The request that is under way. */
  asking: Promise<void> | undefined;
}

export class Marks {
  private readonly entries = new Map<string, Entry>();
  private cancelTimer: (() => void) | undefined;

  constructor(
    private readonly env: Env,
    private readonly ask: (conversation: string, upTo: UpTo) => Promise<unknown>,
  ) {}

  mark(conversation: string, { delivered = 0, read = 0 }: Partial<UpTo>): void {
    const none = { delivered: 0, read: 0 };
    const entry = this.entries.get(conversation) ?? { wanted: none, told: none, asking: undefined };
    this.entries.set(conversation, entry);
    entry.wanted = { delivered: Math.max(entry.wanted.delivered, delivered, read), read: Math.max(entry.wanted.read, read) };
    if (isNews(entry)) this.soon();
  }

  async flush(): Promise<void> {
    this.stop();
    await Promise.all([...this.entries].map(([conversation, entry]) => this.say(conversation, entry)));
  }

  stop(): void {
    this.cancelTimer?.();
    this.cancelTimer = undefined;
  }

  private soon(): void {
    this.cancelTimer ??= this.env.after(MARK_INTERVAL_MS, () => {
      this.cancelTimer = undefined;
      for (const [conversation, entry] of this.entries) void this.say(conversation, entry);
    });
  }

  private async say(conversation: string, entry: Entry): Promise<void> {
    await entry.asking;
    if (!isNews(entry)) return;
    const { wanted, told } = entry;
    entry.told = wanted;
    entry.asking = this.ask(conversation, wanted).then(
      () => undefined,
      (error: unknown) => {
        if (!(error instanceof QuothError && error.retryable)) return;
        // It is said again, by what is known by then.
        entry.told = told;
        this.soon();
      },
    );
    await entry.asking;
    entry.asking = undefined;
    if (isNews(entry)) this.soon();
  }
}

const isNews = ({ wanted, told }: Entry): boolean => wanted.read > told.read || wanted.delivered > told.delivered;
