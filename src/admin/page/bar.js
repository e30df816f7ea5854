// Meters that are seen as well as read.

import { make, put } from "./dom.js";

// A bar with used, held and left parts; the text beside it says the same.
export function bar(node, { used, held = 0, total, state = "fine", text }) {
  if (!node.firstChild) node.append(make("span", { class: "used" }), make("span", { class: "held" }));
  const scale = Math.max(total, used + held, Number.MIN_VALUE);
  node.firstChild.style.width = `${(used / scale) * 100}%`;
  node.lastChild.style.width = `${(held / scale) * 100}%`;
  meter(node, { taken: used + held, total, state, text });
}

// What a meter is read by, whatever it looks like.
export function meter(node, { taken, total, state, text }) {
  put(node, "data-state", state);
  put(node, "aria-valuemin", 0);
  put(node, "aria-valuemax", total);
  put(node, "aria-valuenow", Math.min(taken, total));
  put(node, "aria-valuetext", text);
}
