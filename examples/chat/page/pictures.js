// Pictures as binary messages: made small enough on the way up, put where they belong on the way down.

import { make } from "./dom.js";

export const MARK = 12; // bytes at the head of a picture: its tag on the way up, its id on the way down
const MOST = 170_000; // bytes of a picture
const SIDES = [1600, 1200, 900, 640, 400]; // px of its longer side, until it is small enough
const KINDS = { "image/png": 1, "image/jpeg": 1, "image/gif": 1, "image/webp": 1 };
const KEPT = 40; // pictures in memory

/** @type {Map<string, {image: HTMLImageElement, url?: string}>} */
const places = new Map();

/** Return a picture that is small enough to send, or null for a file that is none. @param {Blob} file */
export async function shrink(file) {
  if (KINDS[file.type] && file.size <= MOST) return new Uint8Array(await file.arrayBuffer());
  const whole = await createImageBitmap(file).catch(() => null);
  if (!whole) return null;
  for (const side of SIDES) {
    const scale = Math.min(1, side / Math.max(whole.width, whole.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(whole.width * scale));
    canvas.height = Math.max(1, Math.round(whole.height * scale));
    canvas.getContext("2d").drawImage(whole, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.82));
    if (blob.size <= MOST) return new Uint8Array(await blob.arrayBuffer());
  }
  return null;
}

/** Put a tag before the bytes of a picture. @param {string} tag @param {Uint8Array} bytes */
export function marked(tag, bytes) {
  const whole = new Uint8Array(MARK + bytes.length);
  whole.set(new TextEncoder().encode(tag));
  whole.set(bytes, MARK);
  return whole;
}

const typeOf = ([first]) => ({ 0x89: "image/png", 0xff: "image/jpeg", 0x47: "image/gif", 0x52: "image/webp" })[first];

/** Show bytes in an image. */
function fill(place, bytes) {
  place.url = URL.createObjectURL(new Blob([bytes], { type: typeOf(bytes) }));
  place.image.src = place.url;
}

/** Make the place of a picture: its bytes come apart from it. @param {string} id @param {string} text @param {() => void} seen called when it has its size */
export function place(id, text, seen) {
  const image = make("img");
  image.alt = text;
  image.addEventListener("load", seen);
  const old = places.get(id);
  const mine = { image, url: old?.url };
  if (mine.url) image.src = mine.url;
  places.set(id, mine);
  if (places.size > KEPT) {
    const [oldest, { url }] = places.entries().next().value;
    if (url) URL.revokeObjectURL(url);
    places.delete(oldest);
  }
  return image;
}

/** Show one's own picture before the server has it. @param {string} tag @param {Uint8Array} bytes @param {string} text */
export function own(tag, bytes, text, seen) {
  const image = place(tag, text, seen);
  fill(places.get(tag), bytes);
  return image;
}

/** Take the bytes of a picture that has its place already. @param {ArrayBuffer} data */
export function arrived(data) {
  const id = new TextDecoder("latin1").decode(data.slice(0, MARK));
  const mine = places.get(id);
  if (mine && !mine.url) fill(mine, new Uint8Array(data, MARK));
}
