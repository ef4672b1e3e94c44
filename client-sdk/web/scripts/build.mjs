// Builds dist/: one module for each entry point (what they share stays shared), and the types.
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { build } from "esbuild";

rmSync("dist", { recursive: true, force: true });
await build({
  entryPoints: ["src/index.ts", "src/outbox/index.ts", "src/react/index.ts", "src/members/index.ts", "src/messages/index.ts"],
  outdir: "dist",
  bundle: true,
  splitting: true,
  chunkNames: "chunks/[hash]",
  format: "esm",
  target: "es2022",
  packages: "external",
  sourcemap: true,
});
execFileSync("node_modules/.bin/tsc", ["-p", "tsconfig.build.json"], { stdio: "inherit" });
