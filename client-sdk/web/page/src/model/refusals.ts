/** The server's codes in words for people who write messages. */

export function refusalText(code: string | undefined): string {
  switch (code) {
    case "FORBIDDEN":
      return "You may not write here.";
    case "TOO_LARGE":
      return "The message is too long.";
    case "STALE_MESSAGE_ID":
      return "The message was overtaken by a later one.";
    case "STORE_FAILED":
      return "The server could not store it.";
    default:
      return "Not sent.";
  }
}

export interface Ending {
  title: string;
  text: string;
  icon: "lock" | "cloud";
  /** What the user can do about it. */
  action: "again" | "remove";
}

/** Why a conversation cannot be read. */
export function endingOf(code: string, name: string, message: string): Ending {
  if (code === "FORBIDDEN")
    return {
      title: "Nothing to see here",
      text: `You have no access to “${name}”, or there is no such conversation.`,
      icon: "lock",
      action: "remove",
    };
  if (code === "OVERLOADED")
    return {
      title: "Too many open conversations",
      text: "Remove one from your list, then try again.",
      icon: "cloud",
      action: "again",
    };
  if (code === "STORE_FAILED")
    return {
      title: "This conversation cannot be read",
      text: "The server has a problem with its store.",
      icon: "cloud",
      action: "again",
    };
  return { title: "This conversation has stopped", text: message, icon: "cloud", action: "again" };
}
