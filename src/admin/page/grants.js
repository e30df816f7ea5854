// Grants: what raises budgets, for whom, until when and why; and whether budgets are more than there is.

import { field, fit, hide, list, make, put, say, sayIf } from "./dom.js";
import * as f from "./format.js";
import { isSeen } from "./view.js";

const table = document.querySelector("table.grants");

function grantRow({ number }) {
  const labels = { credits: "Credits", from: "From", until: "Until", why: "Why" };
  const cells = Object.entries(labels).map(([name, label]) =>
    make("td", { role: "cell", "data-label": label, "data-cell": name, class: name === "credits" ? "num" : null }),
  );
  const head = make(
    "th",
    { scope: "row", role: "rowheader" },
    make("span", { class: "name", "data-cell": "team" }),
    make("span", { class: "under" }, `grant ${number}`),
    make("span", { class: "tag warn", "data-cell": "back" }),
  );
  return make("tr", { role: "row", "data-grant": number }, head, ...cells);
}

export function renderGrants({ list: all, budgets_a_month, there_is }) {
  const grants = all.filter(({ team }) => isSeen(team) || team === "organisation");
  const more = there_is !== null && budgets_a_month > there_is;
  sayIf(
    field("grants.summary"),
    there_is === null || budgets_a_month === 0
      ? ""
      : `The teams’ budgets are ${f.credits(budgets_a_month)} a month together, of ${f.amount(there_is)} that there are${more ? ": not all can be spent" : ""}.`,
  );
  put(field("grants.summary"), "class", more ? "note soon" : "note");
  hide(field("grants.none"), grants.length > 0);
  hide(table, grants.length === 0);
  const day = (date) => f.bucket(date, "day", "long");
  list(table.tBodies[0], grants, ({ number }) => number, grantRow, (row, grant) => {
    const cell = (name) => row.querySelector(`[data-cell="${name}"]`);
    say(cell("team"), grant.team === "organisation" ? "The organisation" : grant.team);
    sayIf(cell("back"), grant.taken_back ? "taken back" : "");
    say(cell("credits"), f.amount(grant.credits));
    say(cell("from"), day(grant.from));
    say(cell("until"), day(grant.until));
    say(cell("why"), grant.why);
  });
  fit(table);
}
