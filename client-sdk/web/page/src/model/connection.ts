/** What the banner and the status line say of the connection. */

import { roundTrip, seconds } from "./times.js";

export type Link =
  | { name: "connecting"; first: boolean }
  | { name: "connected"; rttMs: number | undefined; transport: string; durability: "memory" | "stored" | undefined }
  | { name: "waiting"; retryAtMs: number; reason: string }
  | { name: "offline" }
  | { name: "ended"; reason: string };

export interface Banner {
  text: string;
  action: "now" | "reload" | undefined;
  bad: boolean;
}

/** Nothing is said of a first connection on its way: the empty log shows that. */
export function bannerOf(link: Link, waiting: number, nowMs: number): Banner | undefined {
  const kept = waiting === 0 ? "" : waiting === 1 ? " 1 message waits." : ` ${waiting} messages wait.`;
  switch (link.name) {
    case "connected":
      return undefined;
    case "connecting":
      return link.first ? undefined : { text: `Connecting…${kept}`, action: undefined, bad: false };
    case "waiting":
      return { text: `No connection. Next try in ${seconds(link.retryAtMs - nowMs)}.${kept}`, action: "now", bad: false };
    case "offline":
      return {
        text: waiting === 0 ? "You are offline. What you write is sent later." : `You are offline.${kept}`,
        action: "now",
        bad: false,
      };
    case "ended":
      return { text: link.reason, action: "reload", bad: true };
  }
}

/** For screen readers: the same without what changes every second. */
export function spoken(link: Link): string {
  switch (link.name) {
    case "connected":
      return "Connected";
    case "connecting":
      return "Connecting";
    case "waiting":
      return "Connection lost, trying again";
    case "offline":
      return "You are offline";
    case "ended":
      return link.reason;
  }
}

export interface Status {
  dot: "on" | "try" | "off";
  parts: { text: string; title: string }[];
}

export function statusOf(link: Link): Status {
  switch (link.name) {
    case "connected": {
      const parts = [
        { text: link.transport === "websocket" ? "WebSocket" : link.transport, title: "How this page reaches the server" },
      ];
      if (link.rttMs !== undefined) parts.push({ text: roundTrip(link.rttMs), title: "To the server and back" });
      if (link.durability === "stored") parts.push({ text: "durable", title: "One tick: the message is on the server's disk" });
      if (link.durability === "memory")
        parts.push({ text: "in memory", title: "One tick: the server has the message, but it would not survive the server" });
      return { dot: "on", parts };
    }
    case "connecting":
      return { dot: "try", parts: [{ text: "Connecting…", title: "" }] };
    case "waiting":
      return { dot: "try", parts: [{ text: "Reconnecting", title: link.reason }] };
    case "offline":
      return { dot: "off", parts: [{ text: "Offline", title: "This device has no network" }] };
    case "ended":
      return { dot: "off", parts: [{ text: "Not connected", title: link.reason }] };
  }
}
