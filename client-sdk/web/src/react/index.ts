/** A React hook on a conversation. */
import type { Ack, Client, Gap, LogEvent, Roster, SendOptions, State } from "../api.js";
import { useEffect, useMemo, useSyncExternalStore } from "react";
import type { QuothError } from "../error.js";
import { Timeline } from "./timeline.js";

export interface UseConversationOptions {
  /** How many of the last events to begin with. Default 50. */
  last?: number;
}

export interface UseConversation {
  /** In order, without a hole: the last ones, what came since, and what `loadOlder` has put in front. */
  readonly events: readonly (LogEvent | Gap)[];
  /** Whether what was there at the start has come. */
  readonly caughtUp: boolean;
  /** As `Conversation.send`. */
  send(body: string | Uint8Array, options?: SendOptions): Promise<Ack>;
  readonly state: State;
  /** The other users who are typing. */
  readonly typings: readonly string[];
  /** Says that the user is typing. */
  typing(): void;
  readonly roster: Roster | undefined;
  /** As `Conversation.seen`. */
  seen(seq: number): void;
  /** Whether there is more to load. */
  readonly hasOlder: boolean;
  /** Puts a page of older events in front (default 100); a call during another one gives that one's promise. */
  loadOlder(limit?: number): Promise<void>;
  /** Why the conversation is not read any longer, if so. */
  readonly error: QuothError | undefined;
}

/** Reads a conversation for as long as the component is mounted; what it has read grows as long. */
export function useConversation(
  client: Client,
  name: string,
  { last = 50 }: UseConversationOptions = {},
): UseConversation {
  const room = useMemo(() => client.conversation(name), [client, name]);
  const timeline = useMemo(() => new Timeline(room, last), [room, last]);
  useEffect(() => timeline.follow(), [timeline]);
  const view = useSyncExternalStore(timeline.subscribe, () => timeline.view, () => timeline.view);
  const [onState, onTypings, onRoster] = useMemo(
    () => [client.onState.bind(client), room.onTypings.bind(room), room.onRoster.bind(room)],
    [client, room],
  );
  const state = useSyncExternalStore(onState, () => client.state, () => client.state);
  const typings = useSyncExternalStore(onTypings, () => room.typings, () => room.typings);
  const roster = useSyncExternalStore(onRoster, () => room.roster, () => room.roster);
  const calls = useMemo(
    () => ({
      send: (body: string | Uint8Array, options?: SendOptions) => room.send(body, options),
      typing: () => room.typing(),
      seen: (seq: number) => room.seen(seq),
      loadOlder: (limit?: number) => timeline.loadOlder(limit),
    }),
    [room, timeline],
  );
  return { ...view, ...calls, state, typings, roster };
}
