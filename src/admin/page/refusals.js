// What the gateway refused since it started, by reason.

import { field, fit, hide, list, make, say } from "./dom.js";
import * as f from "./format.js";
import { isSeen } from "./view.js";
import { refusalMeans } from "./words.js";

// As many teams as are named beside a reason; the rest are added up.
const NAMED = 8;

function refusalRow({ code }) {
  return make(
    "tr",
    { role: "row", "data-code": code },
    make("th", { scope: "row", role: "rowheader" }, make("code", {}, code)),
    make("td", { role: "cell", "data-label": "Meaning", class: "meaning" }, refusalMeans(code)),
    make("td", { role: "cell", "data-label": "Calls", class: "num", "data-cell": "count" }),
    make("td", { role: "cell", "data-label": "By team", class: "teams-of", "data-cell": "teams" }),
  );
}

export function renderRefusals({ refusals, started, at, time_zone }) {
  const where = f.zone(time_zone);
  f.showTime(field("started"), started, `${where.recent(started, at)} ${where.name}`, where);
  const codes = new Map();
  for (const { team, code, count } of refusals.filter(({ team }) => isSeen(team))) {
    const row = codes.get(code) ?? { code, count: 0, teams: [] };
    row.count += count;
    row.teams.push({ team, count });
    codes.set(code, row);
  }
  const rows = [...codes.values()].sort((a, b) => b.count - a.count || (a.code < b.code ? -1 : 1));
  hide(field("refusals.none"), rows.length > 0);
  const table = document.querySelector("table.refused");
  hide(table, rows.length === 0);
  list(
    table.tBodies[0],
    rows,
    ({ code }) => code,
    refusalRow,
    (row, { count, teams }) => {
      say(row.querySelector("[data-cell=count]"), f.amount(count));
      const by = teams.sort((a, b) => b.count - a.count);
      const named = ({ team, count }) => `${team === "other" ? "no known key" : team} ${f.amount(count)}`;
      const rest = by.slice(NAMED);
      const tail = rest.length
        ? `, ${f.counted(rest.length, "more team")} ${f.amount(rest.reduce((sum, { count }) => sum + count, 0))}`
        : "";
      say(row.querySelector("[data-cell=teams]"), by.slice(0, NAMED).map(named).join(", ") + tail);
    },
  );
  fit(table);
}
