// Counts numbered messages as they come: which were lost, which came twice, which out of order. The twin of tally.py.

const MAX_MISSING = 10_000; // numbers that are remembered as missing

export class Tally {
  highest = 0; // the highest number so far
  came = 0; // messages that came, each counted once
  twice = 0; // messages that had come before
  late = 0; // messages that came after a higher number
  lost = 0; // messages that were skipped and have not come since
  #missing = new Set();

  /** Count a message. @param {number} number */
  take(number) {
    if (number > this.highest) {
      this.lost += number - this.highest - 1;
      for (let gap = this.highest + 1; gap < number && this.#missing.size < MAX_MISSING; gap++) this.#missing.add(gap);
      this.highest = number;
      this.came++;
    } else if (this.#missing.delete(number)) {
      this.lost--;
      this.late++;
      this.came++;
    } else this.twice++;
  }
}
