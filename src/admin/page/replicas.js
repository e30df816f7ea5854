// The gateways that share the ledger, where there are several.

import { field, fit, hide, list, make, say } from "./dom.js";
import * as f from "./format.js";

const COLUMNS = ["Version", "Since", "Calls under way", "Calls waiting", "Lease left"];

function replicaRow({ name }) {
  const head = make(
    "th",
    { scope: "row", role: "rowheader" },
    make("span", { class: "name" }, name),
    make("span", { class: "of", "data-cell": "own" }),
  );
  const cells = COLUMNS.map((label) => make("td", { role: "cell", "data-label": label, class: "num" }));
  ["version", "since", "in_flight", "waiting", "lease"].forEach((node, at) =>
    cells[at].setAttribute("data-cell", node),
  );
  return make("tr", { role: "row" }, head, ...cells);
}

function fillReplica(row, { id, version, started, in_flight, waiting, lease_seconds, own }, at) {
  const cell = (name) => row.querySelector(`[data-cell="${name}"]`);
  say(cell("own"), own ? ` no. ${id}, this one` : ` no. ${id}`);
  say(cell("version"), version);
  say(cell("since"), f.span(f.seconds(started, at)));
  say(cell("in_flight"), f.amount(in_flight));
  say(cell("waiting"), f.amount(waiting));
  say(cell("lease"), `${f.amount(Math.round(lease_seconds))} s`);
}

export function renderReplicas({ at, replicas }) {
  hide(document.querySelector("#replicas"), !replicas);
  if (!replicas) return;
  const table = document.querySelector("table.replicas");
  say(field("replicas.summary"), f.counted(replicas.length, "gateway"));
  list(table.tBodies[0], replicas, ({ id }) => id, replicaRow, (row, replica) => fillReplica(row, replica, at));
  fit(table);
}
