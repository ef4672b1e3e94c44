// How large each entry point is for a page: bundled, minified, gzipped. Fails when one is over its limit.
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const entries = {
  "@quoth/client": "src/index.ts",
  outbox: "src/outbox/index.ts",
  react: "src/react/index.ts",
  members: "src/members/index.ts",
  messages: "src/messages/index.ts",
};
/** Those that have a limit, in bytes. What an entry shares with the main one is counted with both. */
const limits = { "@quoth/client": 15 * 1024, messages: 10 * 1024 };

for (const [name, entry] of Object.entries(entries)) {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    packages: "external",
    write: false,
  });
  const bytes = gzipSync(outputFiles[0].contents, { level: 9 }).length;
  console.log(`${name}: ${bytes} bytes`);
  if (bytes > limits[name]) {
    console.error(`${name} is over its limit of ${limits[name]} bytes`);
    process.exitCode = 1;
  }
}
