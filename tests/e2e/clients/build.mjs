// Makes one script of each page: node build.mjs FOLDER
import { build } from "esbuild";

await build({
  entryPoints: [4, 5, 6, 7].map((major) => `pages/page${major}.jsx`),
  outdir: process.argv[2],
  bundle: true,
  minify: true,
  jsx: "automatic",
  define: { "process.env.NODE_ENV": '"production"' },
  logLevel: "warning",
});
