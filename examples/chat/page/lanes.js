// Draws when something came, a lane for each library: a break in it is a silence.

const USUAL = 5; // messages in one step while nothing is broken; what comes in a heap is drawn up to twice as tall

/**
 * @param {HTMLCanvasElement} canvas
 * @param {number[]} lane how many came in each step, the newest last
 * @param {number} steps that the lane shows
 */
export function drawLane(canvas, lane, steps) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width || document.hidden) return;
  const scale = devicePixelRatio || 1;
  canvas.width = Math.round(width * scale); // clears it too
  canvas.height = Math.round(height * scale);
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const wide = canvas.width / steps;
  pen.fillStyle = getComputedStyle(canvas).color;
  for (const [index, came] of lane.entries()) {
    const tall = (Math.min(came / USUAL, 2) * canvas.height) / 2;
    const left = Math.round((steps - lane.length + index) * wide);
    pen.fillRect(left, canvas.height - tall, Math.max(wide - scale, scale), tall);
  }
}
