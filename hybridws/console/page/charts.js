// Draws small charts: lines, stacked areas and timelines, as SVG that fills the element it is given.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 240; // units of a chart; it is stretched to its element
const HEIGHT = 60;
const POINTS = 120; // looks that a chart is wide

/** @param {string} tag @param {Record<string, string | number>} attributes */
export function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/** Begin a chart anew. @param {Element} svg */
function blank(svg, width = WIDTH, height = HEIGHT) {
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.replaceChildren();
}

const x = (index, count) => WIDTH - ((count - 1 - index) * WIDTH) / (POINTS - 1);

/** Draw lines over time, the newest at the right, each with a class. @param {Element} svg @param {number[][]} series */
export function lines(svg, series, { floor = 1, names = [""] } = {}) {
  blank(svg);
  const top = Math.max(floor, ...series.flat()) * 1.08;
  series.forEach((values, which) => {
    if (values.length < 2) return;
    const points = values.map((value, index) => `${x(index, values.length).toFixed(1)},${(HEIGHT * (1 - value / top)).toFixed(1)}`);
    if (which === 0) {
      const area = `M${x(0, values.length).toFixed(1)},${HEIGHT} L${points.join(" ")} L${WIDTH},${HEIGHT} Z`;
      svg.append(draw("path", { d: area, class: `area ${names[which] ?? ""}` }));
    }
    svg.append(draw("polyline", { points: points.join(" "), class: `line ${names[which] ?? ""}` }));
  });
}

/** Draw areas on top of each other. @param {Element} svg @param {number[][]} points one list of parts a look */
export function stack(svg, points, names) {
  blank(svg);
  if (points.length < 2) return;
  const sums = points.map((parts) => parts.reduce((sum, part) => sum + part, 0));
  const top = Math.max(1, ...sums) * 1.04;
  const below = points.map(() => 0);
  names.forEach((name, part) => {
    const floor = [...below];
    points.forEach((parts, index) => (below[index] += parts[part]));
    const spot = (value, index) => `${x(index, points.length).toFixed(1)},${(HEIGHT * (1 - value / top)).toFixed(2)}`;
    const d = `M${below.map(spot).join(" L")} L${floor.map(spot).reverse().join(" L")} Z`;
    svg.append(draw("path", { d, class: `part ${name}` }));
  });
}

/** Draw a life as a bar: a piece for each stay, and gaps where there was none. */
export function life(svg, stays, from, to, kind) {
  blank(svg, 1000, 10);
  const span = Math.max(to - from, 1);
  svg.append(draw("rect", { x: 0, y: 4, width: 1000, height: 2, class: "gap" }));
  for (const [name, since, until] of stays) {
    const left = ((since - from) / span) * 1000;
    const width = Math.max((((until ?? to) - since) / span) * 1000 - 1, 3);
    svg.append(draw("rect", { x: left.toFixed(1), y: 0, width: width.toFixed(1), height: 10, class: `part ${kind(name)}` }));
  }
}
