/** What a conversation is called, and what its user may do there. */

import type { ConversationInfo } from "../../../src/members/index.js";

/** Bits of `permissions` (section 11 of the protocol). */
const WRITE = 2;
const INVITE = 4;
const MODERATE = 8;
const MANAGE = 16;
const DELETE_ANY = 32;

/** What the page knows of a conversation that has members; none of one that has not. */
export type Info = ConversationInfo | undefined;

/** For people: the title where there is one, and never a name that the server has made. */
export function shownName(name: string, info: Info, title: string | undefined): string {
  const said = info?.title || title;
  if (said) return said;
  if (name.startsWith("notes/")) return "Notes";
  if (name.startsWith("direct/")) return "Direct message";
  if (name.startsWith("group/")) return "Group without a title";
  return name.startsWith("channel/") ? "Channel without a title" : name;
}

export interface Rights {
  write: boolean;
  invite: boolean;
  moderate: boolean;
  manage: boolean;
  /** Says how long messages are kept. */
  keep: boolean;
  /** Members come and go there. */
  leave: boolean;
}

export function rightsOf(info: Info): Rights {
  const has = (bit: number): boolean => ((info?.permissions ?? 0) & bit) !== 0;
  const changes = info?.kind === "group" || info?.kind === "channel";
  return {
    write: has(WRITE),
    invite: changes && has(INVITE),
    moderate: changes && has(MODERATE),
    manage: changes && has(MANAGE),
    keep: has(MANAGE),
    leave: changes && info?.role !== undefined,
  };
}

/** Whether the user may take others' messages back. */
export const deleteAny = (info: Info): boolean => ((info?.permissions ?? 0) & DELETE_ANY) !== 0;

/** A link with which somebody comes in. */
export function invitationLink(base: string, conversation: string, invitation: string): string {
  return `${base}#${new URLSearchParams({ conversation, invitation })}`;
}

export interface Invited {
  conversation: string;
  invitation: string;
}

/** What an invitation's link says; none for what is no such link. */
export function invitedBy(link: string): Invited | undefined {
  const params = new URLSearchParams(link.slice(link.indexOf("#") + 1));
  const [conversation, invitation] = [params.get("conversation"), params.get("invitation")];
  return conversation && invitation ? { conversation, invitation } : undefined;
}

/** User ids that are typed with commas or spaces between them, each once. */
export function usersIn(text: string): string[] {
  return [...new Set(text.split(/[\s,;]+/u).filter((user) => user !== ""))];
}
