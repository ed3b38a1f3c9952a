// Finds short names for the client's own, which begin with an underscore: build.mjs keeps them in names.json.
//
// Names that no object has both of may become the same letter, which compresses well. TypeScript tells what objects
// there are: two names clash if a type in src/ has both. Every build asks, so that a name which has moved to another
// object goes wrong in nobody's page.

import { gzipSync } from "node:zlib";
import ts from "typescript";

const HERE = new URL(".", import.meta.url).pathname;
const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const TRIES = 40_000; // changes that are looked at: after as many more few bytes are left to find

export const OWN = /^_[a-zA-Z]/;

/** Return, for each of the client's own names, those that some object has beside it. @returns {Map<string, Set<string>>} */
function clashes() {
  const { config } = ts.readConfigFile(`${HERE}tsconfig.json`, ts.sys.readFile);
  const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, HERE);
  const program = ts.createProgram(fileNames, options);
  const checker = program.getTypeChecker();
  const found = new Map();
  const seen = new Set();

  const note = (type) => {
    if (seen.has(type)) return;
    seen.add(type);
    const all = checker.getPropertiesOfType(checker.getApparentType(type)).map(({ name }) => name);
    const own = all.filter((name) => OWN.test(name));
    for (const name of own) found.set(name, new Set([...(found.get(name) ?? []), ...own]));
    if (type.isUnion()) type.types.forEach(note);
  };
  const look = (node) => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return;
    note(checker.getTypeAtLocation(node));
    ts.forEachChild(node, look);
  };
  for (const file of program.getSourceFiles()) if (file.fileName.startsWith(`${HERE}src/`)) ts.forEachChild(file, look);
  for (const [name, beside] of found) beside.delete(name);
  return found;
}

/** Tell which names are one letter though an object has both. @param {Record<string, string>} short @returns {string[]} */
export const clashing = (short) =>
  [...clashes()].flatMap(([name, beside]) =>
    [...beside].filter((other) => name < other && short[name] && short[name] == short[other]).map((other) => `${name} and ${other}`),
  );

/** Give each of the names in a script a letter, so that it compresses as well as may be. @param {string} script */
export function shortest(script) {
  const every = new RegExp(`(?<![\\w$])${OWN.source.slice(1)}\\w*`, "g");
  const uses = [...script.matchAll(every)].map(([name]) => name);
  const between = script.split(every);
  const beside = clashes();
  const names = [...new Set(uses)].sort((a, b) => uses.filter((use) => use == b).length - uses.filter((use) => use == a).length);
  const letters = [...LETTERS].sort((a, b) => script.split(b).length - script.split(a).length);
  const free = (short, name, letter) => [...(beside.get(name) ?? names)].every((other) => other == name || short[other] != letter);
  const size = (short) => gzipSync(between[0] + uses.map((name, at) => short[name] + between[at + 1]).join(""), { level: 9 }).length;

  // The letters that the script has most for the names that it has most; then whatever change makes it smaller.
  let best = {};
  for (const name of names) best[name] = letters.find((letter) => free(best, name, letter));
  let least = size(best);
  let seed = 1;
  const random = (below) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  for (let tries = 0; tries < TRIES; tries++) {
    const [name, letter] = [names[random(names.length)], letters[Math.min(random(letters.length), random(letters.length))]];
    const short = { ...best };
    for (const other of beside.get(name) ?? []) if (short[other] == letter) short[other] = best[name];
    short[name] = letter;
    if (!names.every((other) => free(short, other, short[other]))) continue;
    const now = size(short);
    if (now <= least) [best, least] = [short, now];
  }
  return best;
}
