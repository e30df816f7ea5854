// What goes on upstream behind the answers that began it, and how much of it there may be at once.

import { field, fit, hide, list, make, say, sayIf } from "./dom.js";
import * as f from "./format.js";
import { bar } from "./bar.js";
import { plain } from "./words.js";

const COLUMNS = ["Under way", "Waiting for a place", "Answer lost", "Cost in doubt"];

function jobRow({ route }) {
  const head = make("th", { scope: "row", role: "rowheader" }, make("span", { class: "name" }, plain(route)));
  const cells = COLUMNS.map((label) => make("td", { role: "cell", "data-label": label, class: "num" }));
  const [taken, waiting, unknown, doubt] = cells;
  taken.classList.add("budget");
  taken.append(
    make("div", { class: "bar", role: "meter", "aria-label": `Places of ${plain(route)}` }),
    make("span", { "data-cell": "taken" }),
  );
  for (const [cell, node] of Object.entries({ waiting, unknown, doubt }))
    node.setAttribute("data-cell", cell);
  return make("tr", { role: "row", "data-route": route }, head, ...cells);
}

function fillJob(row, { taken, cap, waiting, unknown, in_doubt, goes_on }) {
  const cell = (name) => row.querySelector(`[data-cell="${name}"]`);
  const text = `${f.amount(taken)} of ${f.amount(cap)}`;
  bar(row.querySelector(".bar"), { used: taken, total: cap, state: taken >= cap ? "near" : "fine", text });
  say(cell("taken"), text);
  say(cell("waiting"), f.amount(waiting));
  // Calls end with their answers, and are no jobs.
  say(cell("unknown"), goes_on ? f.amount(unknown) : "–");
  say(cell("doubt"), goes_on ? f.amount(in_doubt) : "–");
}

export function renderJobs({ jobs }) {
  const doubt = jobs.reduce((sum, { in_doubt }) => sum + in_doubt, 0);
  const lost = jobs.reduce((sum, { unknown }) => sum + unknown, 0);
  const parts = [];
  if (lost) parts.push(`${f.counted(lost, "job")} whose answer was lost`);
  if (doubt) parts.push(`${f.counted(doubt, "job")} that said no cost: booked at what was held`);
  sayIf(field("jobs.summary"), parts.join(" · "));
  const table = document.querySelector("table.jobs");
  const busy = jobs.some((of) => of.taken + of.waiting + of.in_doubt > 0);
  hide(field("jobs.none"), busy);
  hide(table, !busy);
  list(table.tBodies[0], jobs, ({ route }) => route, jobRow, fillJob);
  fit(table);
}
