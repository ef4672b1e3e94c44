/** Requests that have no answer yet: what to ask next, and what to ask again after a disconnect. */
import { errorOfCode, protocolError, QuothError } from "../error.js";
import { ByteReader, ByteWriter } from "../wire/bytes.js";
import { Code } from "../wire/codes.js";
import { type ClientFrame, Feature } from "../wire/frames.js";
import { REQUESTS_MAX } from "../wire/limits.js";
import { type Reply, reply as replyType, type Request, request as requestType } from "../wire/requests.js";
import { RequestError } from "./error.js";

interface Entry {
  request: Request;
  resolve: (value: any) => void;
  reject: (error: QuothError) => void;
  /** Its number on the present connection. */
  id: number | undefined;
  /** Whether it was ever given to one: then it may be done. */
  wasSent: boolean;
}

/** What requests need of a connection. */
export interface RequestSession {
  has(feature: number): boolean;
  readonly isSignedIn: boolean;
  readonly isLeaving: boolean;
  sendControl(frame: ClientFrame): void;
}

/** Codes of a server that cannot tell whether it has done what it refuses. */
const UNKNOWN: readonly number[] = [Code.TIMED_OUT, Code.STORE_FAILED, Code.INTERNAL];

/** The replies that are not `done`. */
const REPLIES: { [type: string]: Reply["type"] | undefined } = {
  invite: "invitation",
  describe: "conversation",
  members: "members",
  blocked: "users",
  sessions: "sessions",
  conversations: "conversations",
  receipts: "receipts",
  inbox: "inbox",
  watch_inbox: "watching",
  messages: "messages",
  set_retention: "retained",
};

/** Requests that may be sent with feature `MESSAGES` in force. */
const NEWER: readonly Request["type"][] = [
  "edit",
  "revoke",
  "react",
  "hide",
  "set_retention",
  "mark",
  "receipts",
  "inbox",
  "watch_inbox",
  "set_inbox",
  "messages",
];

const unsupported = (what: string): QuothError => new QuothError("UNSUPPORTED", `this server does not know ${what}`, false);

export class Requests {
  private entries: Entry[] = [];
  private lastId = 0;

  /** Asks, as soon as that can be done. The promise is that of the reply's only field, or of all. */
  ask(request: Request, session: RequestSession | undefined): Promise<any> {
    return new Promise((resolve, reject) => {
      this.entries.push({ request, resolve, reject, id: undefined, wasSent: false });
      this.advance(session);
    });
  }

  /** Sends what waits, as far as the server reads it. */
  advance(session: RequestSession | undefined): void {
    if (!session?.isSignedIn || session.isLeaving) return;
    if (!session.has(Feature.MEMBERSHIP)) return this.fail(unsupported("members and their requests"));
    if (!session.has(Feature.MESSAGES)) this.refuseNewer();
    let room = REQUESTS_MAX;
    for (const entry of this.entries) {
      if (--room < 0) return;
      if (entry.id !== undefined) continue;
      entry.id = ++this.lastId;
      entry.wasSent = true;
      const bytes = new ByteWriter();
      requestType.write(bytes, entry.request);
      session.sendControl({ type: "request", id: entry.id, request: bytes.finish() });
    }
  }

  /** The server does not know what came with `MESSAGES`. */
  private refuseNewer(): void {
    const isNewer = ({ request }: Entry) => NEWER.includes(request.type);
    const newer = this.entries.filter(isNewer);
    this.entries = this.entries.filter((entry) => !isNewer(entry));
    for (const { reject } of newer) reject(new RequestError(unsupported("edits, receipts and the inbox"), "not_sent"));
  }

  /** The server has answered. The result is the complaint about an answer to nothing that was asked. */
  answered(id: number, bytes: Uint8Array): string | undefined {
    const entry = this.entries.find((e) => e.id === id);
    if (!entry) return `a reply to request ${id}`;
    const from = new ByteReader(bytes);
    const reply = replyType.read(from);
    from.end();
    this.entries = this.entries.filter((e) => e !== entry);
    const { type, ...fields } = reply;
    if (reply.type === "refused") {
      const { code, reason, retryAfterMs } = reply;
      const outcome = UNKNOWN.includes(code) ? "unknown" : "refused";
      entry.reject(new RequestError(errorOfCode(code, "the server refused this", reason, retryAfterMs), outcome));
    } else if (type === (REPLIES[entry.request.type] ?? "done")) {
      const values = Object.values(fields);
      entry.resolve(values.length === 1 ? values[0] : fields);
    } else entry.reject(protocolError(`${type} answers ${entry.request.type}`));
    return undefined;
  }

  /** The connection is gone: what changes nothing when it is done twice is asked again on the next one. */
  disconnected(reason: QuothError): void {
    const [again, unknown] = [[] as Entry[], [] as Entry[]];
    for (const entry of this.entries) {
      (entry.id !== undefined && isDoneTwice(entry.request) ? unknown : again).push(entry);
      entry.id = undefined;
    }
    this.entries = again;
    for (const entry of unknown) entry.reject(new RequestError(reason, "unknown"));
  }

  /** Nothing is asked any more. */
  fail(reason: QuothError): void {
    for (const { reject, wasSent } of this.entries.splice(0)) reject(new RequestError(reason, wasSent ? "unknown" : "not_sent"));
  }
}

function isDoneTwice(request: Request): boolean {
  return request.type === "invite" || (request.type === "create" && !request.conversation && /^[gc]/.test(request.kind));
}
