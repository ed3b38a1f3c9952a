// Finds short names for the client's own, which begin with an underscore: build.mjs keeps them in names.json.
//
// Names that no object has both of may become the same letter, which compresses well. TypeScript tells what objects
// there are: two names clash if a type in src/ has both. Every build asks, so that a name which has moved to another
// object goes wrong in nobody's page. What an object that users extend has gets a dollar sign too: their own names beside
// it are theirs to choose.

import { gzipSync } from "node:zlib";
import ts from "typescript";

const HERE = new URL(".", import.meta.url).pathname;
const LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const TRIES = 40_000; // changes that are looked at: after as many more few bytes are left to find

const EXTENDED = "HybridWS"; // the class that users may extend
const MARK = "$"; // at the head of what it has

export const OWN = /^_[a-zA-Z]/;

/**
 * Return, for each of the client's own names, those that some object has beside it; and the names of what users extend.
 * @returns {{beside: Map<string, Set<string>>, extended: Set<string>}}
 */
function clashes() {
  const { config } = ts.readConfigFile(`${HERE}tsconfig.json`, ts.sys.readFile);
  const { options, fileNames } = ts.parseJsonConfigFileContent(config, ts.sys, HERE);
  const program = ts.createProgram(fileNames, options);
  const checker = program.getTypeChecker();
  const found = new Map();
  const seen = new Set();
  const extended = new Set();

  const note = (type) => {
    if (seen.has(type)) return;
    seen.add(type);
    const all = checker.getPropertiesOfType(checker.getApparentType(type)).map(({ name }) => name);
    const own = all.filter((name) => OWN.test(name));
    if (type.symbol?.name == EXTENDED) for (const name of own) extended.add(name);
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
  return { beside: found, extended };
}

/** Tell what is wrong with the letters: names of one object that share one, or one that is not marked. @param {Record<string, string>} short @returns {string[]} */
export function wrong(short) {
  const { beside, extended } = clashes();
  const shared = [...beside].flatMap(([name, others]) =>
    [...others].filter((other) => name < other && short[name] && short[name] == short[other]).map((other) => `${name} and ${other} share one`),
  );
  const bare = [...extended].filter((name) => !short[name]?.startsWith(MARK)).map((name) => `${name} has no ${MARK}`);
  return [...shared, ...bare];
}

/** Give each of the names in a script a letter, so that it compresses as well as may be. @param {string} script */
export function shortest(script) {
  const every = new RegExp(`(?<![\\w$])${OWN.source.slice(1)}\\w*`, "g");
  const uses = [...script.matchAll(every)].map(([name]) => name);
  const between = script.split(every);
  const { beside, extended } = clashes();
  const names = [...new Set(uses)].sort((a, b) => uses.filter((use) => use == b).length - uses.filter((use) => use == a).length);
  const letters = [...LETTERS].sort((a, b) => script.split(b).length - script.split(a).length);
  const free = (short, name, letter) => [...(beside.get(name) ?? names)].every((other) => other == name || short[other] != letter);
  const mine = (name, letter) => (extended.has(name) ? MARK + letter : letter);
  const size = (short) => gzipSync(between[0] + uses.map((name, at) => short[name] + between[at + 1]).join(""), { level: 9 }).length;

  // The letters that the script has most for the names that it has most; then whatever change makes it smaller.
  let best = {};
  for (const name of names) best[name] = letters.map((letter) => mine(name, letter)).find((letter) => free(best, name, letter));
  let least = size(best);
  let seed = 1;
  const random = (below) => (seed = (seed * 48_271) % 2_147_483_647) % below;
  for (let tries = 0; tries < TRIES; tries++) {
    const name = names[random(names.length)];
    const letter = mine(name, letters[Math.min(random(letters.length), random(letters.length))]);
    const short = { ...best };
    for (const other of beside.get(name) ?? []) if (short[other] == letter) short[other] = best[name];
    short[name] = letter;
    if (!names.every((other) => free(short, other, short[other]))) continue;
    const now = size(short);
    if (now <= least) [best, least] = [short, now];
  }
  return best;
}
