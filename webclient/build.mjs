// Bundle the web client into one script, one worker and one style sheet: node build.mjs DIRECTORY

import { build } from "esbuild";

const outdir = process.argv[2];
if (!outdir) throw new Error("name the directory to build into");

await build({
  entryPoints: { app: "src/main.jsx", worker: "src/worker.js" },
  outdir,
  bundle: true,
  minify: true,
  format: "iife",
  target: ["chrome111", "firefox119", "safari16.4"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "linked",
  logLevel: "warning",
  conditions: ["browser"],
  define: { "process.env.NODE_ENV": '"production"' },
});
