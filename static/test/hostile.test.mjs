// What a server, or another user through it, may send to a page: keys that mean something to JavaScript stay keys.
import assert from "node:assert/strict";
import test from "node:test";
import { json } from "../src/json.js";
import { msgpack } from "../src/msgpack.js";

const text = (word) => [0xa0 | word.length, ...Buffer.from(word)];
/** Write ["m", {KEY: {"admin": true}}] as JSON or msgpack. */
const message = (codec, key) =>
  codec === json
    ? `["m",{${JSON.stringify(key)}:{"admin":true}}]`
    : Uint8Array.from([0x92, ...text("m"), 0x81, ...text(key), 0x81, ...text("admin"), 0xc3]);

for (const codec of [json, msgpack]) {
  for (const key of ["__proto__", "constructor", "prototype", "length", "then", "toString", "hasOwnProperty"]) {
    test(`${codec.name}: the key ${key} is a key and nothing else`, () => {
      const [[[, value]]] = codec.loads(message(codec, key));
      assert.deepEqual(Object.keys(value), [key]);
      assert.equal(Object.getPrototypeOf(value), Object.prototype);
      assert.equal(value.admin, undefined);
      assert.equal({}.admin, undefined);
    });
  }
  test(`${codec.name}: a value that is nested too deep is an error that can be caught`, () => {
    const depth = 200_000;
    const deep = codec === json ? "[".repeat(depth) : new Uint8Array(depth).fill(0x91);
    assert.throws(() => codec.loads(deep), (fault) => fault !== undefined);
  });
}
