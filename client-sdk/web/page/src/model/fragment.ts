/** A link of the development server, `#token=…&conversation=…`, or an invitation, `#conversation=…&invitation=…`. */

export interface Link {
  token: string | undefined;
  conversation: string | undefined;
  invitation: string | undefined;
}

export function linkOf(fragment: string): Link {
  const params = new URLSearchParams(fragment.replace(/^#/u, ""));
  const get = (name: string): string | undefined => params.get(name)?.trim() || undefined;
  return { token: get("token"), conversation: params.get("conversation") || undefined, invitation: get("invitation") };
}
