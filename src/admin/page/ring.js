// The window of the key as a ring: a minute that fills, and empties as requests grow older than one.

import { meter } from "./bar.js";
import { put, say } from "./dom.js";

const AROUND = 100; // the circumference, as `pathLength` has it
const SVG = "http://www.w3.org/2000/svg";

function draw(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) put(node, key, value);
  return node;
}

// A meter that is seen as well as read.
export function ring(node, { used, total, state, text }) {
  if (!node.firstChild) {
    const svg = draw("svg", { viewBox: "0 0 40 40", "aria-hidden": "true" });
    const circle = { cx: 20, cy: 20, r: 16, pathLength: AROUND };
    svg.append(draw("circle", { ...circle, class: "track" }), draw("circle", { ...circle, class: "used" }));
    node.append(svg, document.createElement("span"));
  }
  const share = total > 0 ? Math.min(used / total, 1) : 0;
  put(node.querySelector(".used"), "stroke-dasharray", `${share * AROUND} ${AROUND}`);
  say(node.lastChild, `${Math.round(share * 100)} %`);
  meter(node, { taken: used, total, state, text });
}
