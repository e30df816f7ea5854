// Changing the document only where it differs: focus, selection and what a screen reader is saying survive
// an update that brings nothing new. Text goes in as text, never as markup.

const fields = new Map();

// The element that shows a named figure.
export function field(name) {
  let node = fields.get(name);
  if (!node) fields.set(name, (node = document.querySelector(`[data-field="${name}"]`)));
  return node;
}

export function say(node, text) {
  const words = String(text);
  if (node.textContent !== words) node.textContent = words;
}

export function put(node, name, value) {
  if (value === null || value === undefined) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

export function hide(node, yes) {
  if (node.hidden !== yes) node.hidden = yes;
}

// `hidden` follows whether there is anything to say.
export function sayIf(node, text) {
  hide(node, !text);
  say(node, text ?? "");
}

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) put(node, name, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

const kept = new WeakMap();

// Makes the children of `parent` those of `items`: what is still there stays the same node, and moves only
// when the order changed.
export function list(parent, items, key, build, fill) {
  const before = kept.get(parent) ?? new Map();
  const after = new Map(items.map((item) => [key(item), null]));
  for (const [name, node] of before) if (!after.has(name)) node.remove();
  let next = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    const node = before.get(name) ?? build(item);
    after.set(name, node);
    fill(node, item);
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
  kept.set(parent, after);
}

// Whether a table's rows have room depends on what is in them: where they have none, its rows become cards.
const rooms = new WeakMap();

export function fit(table) {
  const room = table.parentElement.clientWidth;
  if (room === 0) return;
  if (rooms.get(table) !== room) table.classList.remove("cards");
  rooms.set(table, room);
  if (table.offsetWidth > room) table.classList.add("cards");
}

addEventListener("resize", () => document.querySelectorAll(".room > table").forEach(fit));

// Says something to those who listen instead of looking.
export function announce(text) {
  say(document.getElementById("say"), text);
}
