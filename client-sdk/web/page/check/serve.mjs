/** Serves files as the server does: with the strict policy, compressed, and with tokens for anyone. */

import { createServer } from "node:http";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";

const TYPES = {
  html: "text/html; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  css: "text/css; charset=utf-8",
  svg: "image/svg+xml",
  webmanifest: "application/manifest+json",
};
export const POLICY = "default-src 'self'; connect-src 'self' ws: wss:";

/** A token as a server would sign it, but for the signature. */
export function tokenFor(user, { seconds = 3600, write = ["*"] } = {}) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part({ alg: "HS256" })}.${part({ sub: user, aud: "quoth", exp: Math.floor(Date.now() / 1000) + seconds, read: ["*"], write })}.c2lnbmF0dXJl`;
}

/** Resolves with the address and a way to close. WebSockets are passed on to the port `upstream`. */
export function serve(files, { development = true, upstream } = {}) {
  const sent = { bytes: 0 };
  const server = createServer((request, response) => {
    const url = new URL(request.url, "http://localhost");
    if (url.pathname === "/dev/token" && development) {
      const user = url.searchParams.get("user");
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ token: tokenFor(user), user }));
      return;
    }
    const name = url.pathname === "/" ? "index.html" : url.pathname.slice(1);
    const bytes = files.get(name);
    if (!bytes) {
      response.writeHead(404, { "content-type": "text/plain" });
      response.end("not found");
      return;
    }
    const body = gzipSync(bytes);
    sent.bytes += body.length;
    response.writeHead(200, {
      "content-type": TYPES[name.split(".").at(-1)],
      "content-encoding": "gzip",
      "content-security-policy": POLICY,
      "cache-control": "no-store",
    });
    response.end(body);
  });
  server.on("upgrade", (request, socket, head) => {
    if (upstream === undefined) return socket.destroy();
    // A server takes WebSockets of its own pages only: to it, these are.
    const own = { host: `127.0.0.1:${upstream}`, origin: `http://127.0.0.1:${upstream}` };
    const headers = Object.entries({ ...request.headers, ...own });
    const to = connect(upstream, "127.0.0.1", () => {
      to.write(`GET ${request.url} HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`);
      to.write(head);
      to.pipe(socket).pipe(to);
    });
    to.on("error", () => socket.destroy());
    socket.on("error", () => to.destroy());
    return undefined;
  });
  return new Promise((resolve) =>
    server.listen(0, "127.0.0.1", () =>
      resolve({ url: `http://127.0.0.1:${server.address().port}/`, sent, close: () => server.close() }),
    ),
  );
}
