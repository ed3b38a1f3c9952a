// Counts with the demo's Tally: takes {tally, rows} as JSON on standard input, prints what each row of numbers comes to.

import { text } from "node:stream/consumers";

const { tally, rows } = JSON.parse(await text(process.stdin));
const { Tally } = await import(tally);
const counted = rows.map((numbers) => {
  const one = new Tally();
  for (const number of numbers) one.take(number);
  const { came, lost, twice, late, highest } = one;
  return { came, lost, twice, late, highest };
});
console.log(JSON.stringify(counted));
