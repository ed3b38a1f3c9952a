// Builds dist/: `node build.mjs` writes it, `node build.mjs --check` compares it; both hold the sizes (gzip -9).
// `node build.mjs --names` looks for better short names first (a minute), which is worth it after larger changes.

import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { minify } from "terser";
import { OWN, shortest, wrong } from "./names.mjs";

const DIST = new URL("dist/", import.meta.url);
const NAMES = new URL("names.json", import.meta.url); // what the client's own names become
let names = JSON.parse(readFileSync(NAMES, "utf8"));
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

const runs = [
  { entryPoints: { hybridws: "src/index.js" }, format: "esm", outExtension: { ".js": ".mjs" } },
  { entryPoints: { sockjs: "src/sockjs.js" }, format: "esm", outExtension: { ".js": ".mjs" }, plugins: [beside] },
  { entryPoints: { msgpack: "src/msgpack.js" }, format: "esm", outExtension: { ".js": ".mjs" }, plugins: [beside] },
  { entryPoints: { hybridws: "src/global.js" }, format: "iife" },
  { entryPoints: { sockjs: "src/sockjs.global.js" }, format: "iife" },
];

/** Bundle one of the runs: its name, text and source map. */
async function bundle(run) {
  const { outputFiles } = await build({ ...COMMON, ...run });
  const [map, script] = [".map", "js"].map((ending) => outputFiles.find(({ path }) => path.endsWith(ending)));
  return { name: script.path.split("/").at(-1), text: script.text, map: map.text, module: run.format == "esm" };
}

/** What esbuild has bundled becomes a twentieth smaller: terser names variables with compression in mind. */
const squeeze = ({ name, text, map, module }, mangle) =>
  minify(text, {
    module,
    ecma: 2022,
    compress: { passes: 3, unsafe_arrows: true, keep_fargs: false, reduce_funcs: false },
    mangle,
    nameCache: { props: { props: Object.fromEntries(Object.entries(names).map(([name, short]) => [`$${name}`, short])) } },
    format: { preamble: BANNER },
    sourceMap: { content: map, filename: name, url: `${name}.map`, includeSources: true },
  });

if (process.argv.includes("--names")) {
  const { code } = await squeeze(await bundle(runs[0]), {}); // with the names as they are
  names = shortest(code);
  writeFileSync(NAMES, `${JSON.stringify(names, null, 1)}\n`);
}
const faults = wrong(names);
if (faults.length) throw Error(`names.json: ${faults.join(", ")}; run node build.mjs --names`);

const files = {};
for (const run of runs) {
  const bundled = await bundle(run);
  const { code, map } = await squeeze(bundled, { properties: { regex: OWN } });
  files[bundled.name] = Buffer.from(`${code}\n`);
  files[`${bundled.name}.map`] = Buffer.from(map);
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
  const differ = [...new Set([...there, ...Object.keys(files)])].filter(
    (name) => !there.includes(name) || !files[name]?.equals(readFileSync(new URL(name, DIST))),
  );
  if (differ.length) {
    failed = true;
    console.error(`dist/ is not what src/ gives: ${differ.join(", ")}; run tools/js`);
  }
} else {
  rmSync(DIST, { recursive: true, force: true });
  mkdirSync(DIST);
  for (const [name, contents] of Object.entries(files)) writeFileSync(new URL(name, DIST), contents);
}
process.exitCode = failed ? 1 : 0;
