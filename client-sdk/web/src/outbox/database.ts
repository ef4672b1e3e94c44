/** What the outbox keeps in IndexedDB, and the few transactions on it. */
import { QuothError } from "../error.js";

/** The numbers of one tab: a producer and the last number that it has used. */
export interface TabRow {
  /** The producer in hexadecimal: a key cannot be a bigint. */
  tab: string;
  lastNumber: number;
}

export interface MessageRow {
  tab: string;
  n: number;
  conversation: string;
  body: Uint8Array;
  keptAtMs: number;
  replyTo?: number | undefined;
  mentions?: readonly string[] | undefined;
  expiresInMs?: number | undefined;
  /** Why the server has refused it, if it has. */
  refusal?: { code: string; message: string; retryable: boolean };
}

const TABS = "tabs";
const MESSAGES = "messages";

export class Database {
  private constructor(private readonly db: IDBDatabase) {}

  static async open(factory: IDBFactory, name: string): Promise<Database> {
    const request = factory.open(`quoth-outbox:${name}`, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore(TABS, { keyPath: "tab" });
      request.result.createObjectStore(MESSAGES, { keyPath: ["tab", "n"] }).createIndex("tab", "tab");
    };
    return new Database(await answer(request));
  }

  async tabs(): Promise<string[]> {
    const rows = await this.run("readonly", ({ tabs }) => tabs.getAll() as IDBRequest<TabRow[]>);
    return rows.map(({ tab }) => tab);
  }

  async addTab(tab: string): Promise<void> {
    await this.run("readwrite", ({ tabs }) => tabs.put({ tab, lastNumber: 0 } satisfies TabRow));
  }

  /** Forgets a tab that has no messages. */
  async removeTab(tab: string): Promise<void> {
    await this.run("readwrite", ({ tabs }) => tabs.delete(tab));
  }

  /** The messages of a tab, in the order of their numbers. */
  async messages(tab: string): Promise<MessageRow[]> {
    return this.run("readonly", ({ messages }) => messages.index("tab").getAll(tab) as IDBRequest<MessageRow[]>);
  }

  /** Keeps a message under the tab's next number, in the place of `old` if that is given: all of it is written, or nothing. */
  async keep(tab: string, message: Omit<MessageRow, "tab" | "n">, old?: MessageRow): Promise<MessageRow> {
    const transaction = this.begin("readwrite");
    const { tabs, messages } = storesOf(transaction);
    const found = await answer(tabs.get(tab) as IDBRequest<TabRow | undefined>);
    if (!found) throw new QuothError("OUTBOX", "the outbox of this tab has been deleted; open it again", false);
    const n = found.lastNumber + 1;
    const row: MessageRow = { ...message, tab, n };
    tabs.put({ tab, lastNumber: n } satisfies TabRow);
    messages.put(row);
    if (old) messages.delete([old.tab, old.n]);
    await completed(transaction);
    return row;
  }

  async replace(message: MessageRow): Promise<void> {
    await this.run("readwrite", ({ messages }) => messages.put(message));
  }

  async forget({ tab, n }: { tab: string; n: number }): Promise<void> {
    await this.run("readwrite", ({ messages }) => messages.delete([tab, n]));
  }

  close(): void {
    this.db.close();
  }

  /** One request in a transaction of its own; resolves when that is on the disk. */
  private async run<T>(mode: IDBTransactionMode, ask: (stores: Stores) => IDBRequest<T>): Promise<T> {
    const transaction = this.begin(mode);
    const request = ask(storesOf(transaction));
    await completed(transaction);
    return request.result;
  }

  private begin(mode: IDBTransactionMode): IDBTransaction {
    // A message that the user sees as kept must survive a power cut.
    return this.db.transaction([TABS, MESSAGES], mode, { durability: "strict" });
  }
}

interface Stores {
  tabs: IDBObjectStore;
  messages: IDBObjectStore;
}

function storesOf(transaction: IDBTransaction): Stores {
  return { tabs: transaction.objectStore(TABS), messages: transaction.objectStore(MESSAGES) };
}

function answer<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(failure(request.error));
  });
}

function completed(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(failure(transaction.error));
  });
}

function failure(cause: unknown): QuothError {
  const text = cause instanceof Error ? cause.message : "the transaction was aborted";
  return new QuothError("OUTBOX", `the outbox cannot use its database: ${text}`, true, { cause });
}
