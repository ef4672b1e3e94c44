/** A link of the development server: `#token=…&conversation=…`. */

export interface Link {
  token: string | undefined;
  conversation: string | undefined;
}

export function linkOf(fragment: string): Link {
  const params = new URLSearchParams(fragment.replace(/^#/u, ""));
  return { token: params.get("token")?.trim() || undefined, conversation: params.get("conversation") || undefined };
}
