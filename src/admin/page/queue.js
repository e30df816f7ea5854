// Who waits for a turn: how many calls of each team, how long another would wait at the least, and who has had less than its share.

import { field, fit, hide, list, make, put, say } from "./dom.js";
import * as f from "./format.js";
import { isSeen } from "./view.js";

const COLUMNS = { waiting: "Calls waiting", least: "Another would wait at least", behind: "Behind its fair share" };

function queueRow({ name }) {
  const head = make("th", { scope: "row", role: "rowheader" }, make("span", { class: "name" }, name));
  const cells = Object.entries(COLUMNS).map(([cell, label]) =>
    make("td", { role: "cell", "data-label": label, "data-cell": cell, class: "num" }),
  );
  return make("tr", { role: "row", "data-team": name }, head, ...cells);
}

// Nobody knows when credits or places of a route will be free again.
const least = (seconds) => {
  if (seconds === null) return "until credits or a place are free";
  return seconds < 1 ? "less than a second" : f.span(Math.ceil(seconds));
};

export function renderQueue({ teams }) {
  const rows = teams.filter(({ name, waiting }) => waiting > 0 && isSeen(name)).sort((a, b) => b.waiting - a.waiting);
  const table = document.querySelector("table.queue");
  hide(field("queue.none"), rows.length > 0);
  hide(table, rows.length === 0);
  list(table.tBodies[0], rows, ({ name }) => name, queueRow, (row, { waiting, least_wait_seconds, places_behind }) => {
    const cell = (name) => row.querySelector(`[data-cell="${name}"]`);
    say(cell("waiting"), f.amount(waiting));
    say(cell("least"), least(least_wait_seconds));
    const places = Math.round(places_behind);
    say(cell("behind"), places > 0 ? f.counted(places, "place") : "–");
    put(cell("behind"), "class", places > 0 ? "num soon" : "num");
  });
  fit(table);
}
