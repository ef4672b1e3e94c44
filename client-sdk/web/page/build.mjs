/**
 * Builds the page into dist/. The output is committed, since the server takes it into its binary: with `--check` nothing is
 * written, and the exit code is 1 when the committed output is not what the sources give, or is too large for a first use.
 */

import { readFile, readdir, mkdir, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import { build } from "esbuild";

const HERE = import.meta.dirname;
const DIST = join(HERE, "dist");
/** Loaded when somebody asks for what it does. */
const ON_DEMAND = "extra.js";
/** All that a first use transfers, compressed as the server does. */
const TRANSFER_BYTES_MAX = 60 * 1024;

export async function bundle(entry, { minify = true } = {}) {
  const result = await build({
    entryPoints: { app: entry, extra: join(HERE, "src/extra.ts"), "app-style": join(HERE, "style/app.css") },
    // The page loads it by itself.
    external: ["./extra.js"],
    bundle: true,
    write: false,
    outdir: DIST,
    format: "esm",
    target: ["es2022", "chrome111", "firefox113", "safari16.4"],
    minify,
    charset: "utf8",
    legalComments: "none",
    // Fields without a value need no code.
    tsconfigRaw: { compilerOptions: { target: "ES2022", useDefineForClassFields: false } },
    logLevel: "warning",
  });
  const files = new Map();
  for (const file of result.outputFiles) files.set(file.path.endsWith(".css") ? "app.css" : basename(file.path), Buffer.from(file.contents));
  for (const name of (await readdir(join(HERE, "static"))).sort()) {
    const bytes = await readFile(join(HERE, "static", name));
    files.set(name, name.endsWith(".html") ? Buffer.from(bytes.toString().replace(/^\s+/gmu, "")) : bytes);
  }
  return files;
}

async function committed() {
  const files = new Map();
  for (const name of await readdir(DIST).catch(() => [])) files.set(name, await readFile(join(DIST, name)));
  return files;
}

async function main() {
  const files = await bundle(join(HERE, "src/main.ts"));
  let transfer = 0;
  for (const [name, bytes] of files) {
    const params = { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_LGWIN]: 18 };
    const compressed = brotliCompressSync(bytes, { params }).length;
    if (name !== ON_DEMAND) transfer += compressed;
    console.log(`${name.padEnd(24)} ${String(bytes.length).padStart(7)} bytes, ${String(compressed).padStart(6)} compressed`);
  }
  console.log(
    `${"a first use".padEnd(24)} ${"".padStart(7)}        ${String(transfer).padStart(6)} of at most ${TRANSFER_BYTES_MAX}`,
  );
  if (transfer > TRANSFER_BYTES_MAX) throw new Error("the page is too large for a first use");

  if (process.argv.includes("--check")) {
    const held = await committed();
    const names = new Set([...files.keys(), ...held.keys()]);
    const stale = [...names].filter((name) => !files.get(name)?.equals(held.get(name) ?? Buffer.alloc(0)));
    if (stale.length > 0)
      throw new Error(`page/dist differs from its sources (${stale.join(", ")}): run "npm run page" and commit the result`);
    return;
  }
  await rm(DIST, { recursive: true, force: true });
  await mkdir(DIST);
  for (const [name, bytes] of files) await writeFile(join(DIST, name), bytes);
}

if (process.argv[1] === import.meta.filename) {
  await main().catch((error) => {
    console.error(`page: ${error.message}`);
    process.exitCode = 1;
  });
}
