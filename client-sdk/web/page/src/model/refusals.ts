/** The server's codes in words for people who write messages. */

export function refusalText(code: string | undefined): string {
  switch (code) {
    case "FORBIDDEN":
      return "You may not write here.";
    case "MUTED":
      return "You are muted here for now.";
    case "SLOW_MODE":
      return "Slow mode: wait a while between two messages.";
    case "RATE_LIMITED":
      return "That was too fast.";
    case "DENIED":
      return "The server's operator does not allow it.";
    case "TOO_LARGE":
      return "The message is too long.";
    case "STALE_MESSAGE_ID":
      return "The message was overtaken by a later one.";
    case "STORE_FAILED":
      return "The server could not store it.";
    case "STORAGE_FULL":
      return "The server's disk is full.";
    case "TOO_MANY":
      return "The message mentions too many people.";
    default:
      return "Not sent.";
  }
}

/** Why a request was not done. `message` is for what has no words here. */
export function requestProblem(code: string | undefined, message: string): string {
  switch (code) {
    case "FORBIDDEN":
      return "You may not do this, or there is no such conversation.";
    case "LAST_OWNER":
      return "Make somebody else owner first.";
    case "ALREADY_EXISTS":
      return "There is a conversation of this name already.";
    case "TOO_MANY":
      return "That is more than the server allows.";
    case "RATE_LIMITED":
      return "That was too fast: try again in a moment.";
    case "TOO_OLD":
      return "This message is too old for that.";
    case "NOT_FOUND_MESSAGE":
      return "This message is gone already.";
    default:
      return message;
  }
}

/** Why this page has no connection any more, and will have none by itself. */
export function closedText(code: string, message: string): string {
  if (code === "REPLACED") return "This page has connected anew elsewhere, and goes on there.";
  if (code !== "KICKED") return message;
  const why = message.split("KICKED: ")[1];
  return why === undefined ? "You were signed out here." : `You were signed out here: ${why}`;
}

export interface Ending {
  title: string;
  text: string;
  icon: "lock" | "cloud";
  /** What the user can do about it. */
  action: "again" | "remove" | "join";
}

/** Why a conversation cannot be read. */
export function endingOf(code: string, name: string, message: string, isOpen: boolean): Ending {
  if (code === "FORBIDDEN" && isOpen)
    return { title: "You are not in it", text: `Anybody may join “${name}”.`, icon: "lock", action: "join" };
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
