// Builds dist/: `node build.mjs` writes it, `node build.mjs --check` compares it; both hold the sizes (gzip -9).

import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { minify } from "terser";

const DIST = new URL("dist/", import.meta.url);
const { version } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8"));
const BANNER = `/*! hybridws ${version} | MIT */`;

const COMMON = {
  absWorkingDir: new URL(".", import.meta.url).pathname,
  bundle: true,
  minify: true,
  write: false,
  sourcemap: true,
  sourcesContent: true,
  target: ["es2022"],
  charset: "utf8",
  legalComments: "none",
  mangleProps: /^_./, // a name that only our own code uses begins with an underscore, and is made short
  outdir: "dist",
  logLevel: "warning",
};

/** The entries of the package import each other by name, so that nothing is in a page twice. */
const beside = {
  name: "beside",
  setup(run) {
    run.onResolve({ filter: /^\.\/index\.js$/ }, ({ kind }) =>
      kind == "entry-point" ? undefined : { path: "./hybridws.mjs", external: true },
    );
  },
};

const files = {};
const runs = [
  { entryPoints: { hybridws: "src/index.js" }, format: "esm", outExtension: { ".js": ".mjs" } },
  { entryPoints: { sockjs: "src/sockjs.js" }, format: "esm", outExtension: { ".js": ".mjs" }, plugins: [beside] },
  { entryPoints: { msgpack: "src/msgpack.js" }, format: "esm", outExtension: { ".js": ".mjs" }, plugins: [beside] },
  { entryPoints: { hybridws: "src/global.js" }, format: "iife" },
  { entryPoints: { sockjs: "src/sockjs.global.js" }, format: "iife" },
];
/** What esbuild has bundled becomes a twentieth smaller: terser names variables with compression in mind. */
async function squeeze(name, { text, map }, format) {
  const { code, map: squeezed } = await minify(text, {
    module: format == "esm",
    ecma: 2022,
    compress: { passes: 3, unsafe_arrows: true, keep_fargs: false, reduce_funcs: false },
    format: { preamble: BANNER },
    sourceMap: { content: map, filename: name, url: `${name}.map`, includeSources: true },
  });
  files[name] = Buffer.from(`${code}\n`);
  files[`${name}.map`] = Buffer.from(squeezed);
}

for (const run of runs) {
  const { outputFiles } = await build({ ...COMMON, ...run });
  const [map, bundle] = [".map", "js"].map((ending) => outputFiles.find(({ path }) => path.endsWith(ending)));
  await squeeze(bundle.path.split("/").at(-1), { text: bundle.text, map: map.text }, run.format);
}
for (const name of ["hybridws", "sockjs", "msgpack"]) files[`${name}.d.ts`] = readFileSync(new URL(`src/${name}.d.ts`, import.meta.url));

const scripts = Object.keys(files).filter((name) => /\.m?js$/.test(name)).sort();
const integrity = Object.fromEntries(scripts.map((name) => [name, `sha384-${createHash("sha384").update(files[name]).digest("base64")}`]));
files["integrity.json"] = Buffer.from(`${JSON.stringify({ version, integrity }, null, 2)}\n`);

const sizes = Object.fromEntries(scripts.map((name) => [name, gzipSync(files[name], { level: 9 }).length]));
console.log(sizes);
let failed = false;
for (const [name, most] of Object.entries(JSON.parse(readFileSync(new URL("sizes.json", import.meta.url), "utf8")))) {
  if (sizes[name] > most) {
    failed = true;
    console.error(`${name} takes ${sizes[name]} bytes (gzip), and ${most} are allowed`);
  }
}
if (process.argv.includes("--check")) {
  const there = readdirSync(DIST).sort();
  const wrong = [...new Set([...there, ...Object.keys(files)])].filter(
    (name) => !there.includes(name) || !files[name]?.equals(readFileSync(new URL(name, DIST))),
  );
  if (wrong.length) {
    failed = true;
    console.error(`dist/ is not what src/ gives: ${wrong.join(", ")}; run tools/js`);
  }
} else {
  rmSync(DIST, { recursive: true, force: true });
  mkdirSync(DIST);
  for (const [name, contents] of Object.entries(files)) writeFileSync(new URL(name, DIST), contents);
}
process.exitCode = failed ? 1 : 0;
