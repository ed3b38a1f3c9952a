// The package as npm would publish it: packed, installed in an empty folder, imported by Node and by TypeScript.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

const HERE = new URL("..", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "hybridws-"));
const run = async (command, ...args) => (await promisify(execFile)(command, args, { cwd: folder })).stdout;
const write = (name, text) => writeFileSync(join(folder, name), text);

before(async () => {
  const [{ filename, files }] = JSON.parse(await run("npm", "pack", HERE, "--json", "--ignore-scripts"));
  assert.ok(["LICENSE", "README.md", "dist/hybridws.d.ts", "src/index.js"].every((name) => files.some(({ path }) => path == name)));
  write("package.json", '{"type": "module"}');
  await run("npm", "install", "--offline", "--no-audit", "--no-fund", `./${filename}`);
});
after(() => rmSync(folder, { recursive: true }));

test("each entry of `exports` is what Node gets", async () => {
  write(
    "entries.mjs",
    `import HybridWS, { HybridWS as named, RequestFailed } from "hybridws";
    import { msgpack } from "hybridws/msgpack";
    import SockJS, { SockJS as sock } from "hybridws/sockjs";
    const more = ["hybridws/hybridws.js", "hybridws/sockjs.js", "hybridws/package.json"].map((name) => import.meta.resolve(name).split("/").at(-1));
    console.log(HybridWS == named, SockJS == sock, new RequestFailed(4000, "no").code, msgpack.name, HybridWS.OPEN, more.join());`,
  );
  assert.equal(await run(process.execPath, "entries.mjs"), "true true 4000 msgpack 1 hybridws.js,sockjs.js,package.json\n");
});

for (const [module, resolution] of [["nodenext", "nodenext"], ["esnext", "bundler"]]) {
  test(`TypeScript finds the types (${resolution})`, async () => {
    write(
      "user.ts",
      `import HybridWS, { RequestFailed, type Transport } from "hybridws";
      import { msgpack } from "hybridws/msgpack";
      import { SockJS } from "hybridws/sockjs";
      const ws = new HybridWS("/chat", { codec: msgpack, transports: "poll" });
      export const transport: Transport | null = ws.transport;
      export const failed = (fault: unknown): number => (fault instanceof RequestFailed ? fault.code : 0);
      export const sock = new SockJS("/echo");
      // @ts-expect-error a message has no such field
      ws.onmessage = ({ nonsense }) => nonsense;`,
    );
    const tsc = join(HERE, "node_modules/typescript/bin/tsc");
    await run(process.execPath, tsc, "--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", module, "--moduleResolution", resolution, "user.ts");
  });
}
