// How large each entry point is for a page: bundled, minified, gzipped. Fails when the main one is over its limit.
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const LIMIT_BYTES = 15 * 1024;
const entries = { "@quoth/client": "src/index.ts", outbox: "src/outbox/index.ts", react: "src/react/index.ts", members: "src/members/index.ts" };

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
  if (entry === entries["@quoth/client"] && bytes > LIMIT_BYTES) {
    console.error(`${name} is over its limit of ${LIMIT_BYTES} bytes`);
    process.exitCode = 1;
  }
}
