// Keys and members: who may call, how, and what each has done; and what is done to keys, each time with the token for that.

import { announce, field, fit, hide, list, make, put, say, sayIf } from "./dom.js";
import * as f from "./format.js";
import { isSeen, view } from "./view.js";

const table = document.querySelector("table.callers");
const dialog = document.getElementById("key-change");
const form = dialog.querySelector("form");
const made = document.getElementById("key-made");

// By state: its tone, and what can be done about it.
const STATES = {
  valid: ["", ["Replace", "Revoke"]],
  expiring: ["warn", ["Replace", "Revoke"]],
  replaced: ["", ["Revoke"]],
  expired: ["bad", []],
  revoked: ["bad", []],
  orphaned: ["warn", ["Revoke"]],
};

function callerRow({ id }) {
  const labels = { way: "Way in", used: "Last use", until: "Until", spent: "Spent on these days", change: "" };
  const cells = Object.entries(labels).map(([name, label]) =>
    make("td", { role: "cell", "data-label": label || null, "data-cell": name, class: name === "spent" ? "num" : null }),
  );
  const head = make(
    "th",
    { scope: "row", role: "rowheader" },
    make("code", {}, id),
    make("span", { class: "under", "data-cell": "team" }),
    make("span", { class: "tag", "data-cell": "state" }),
  );
  return make("tr", { role: "row", "data-caller": id }, head, ...cells);
}

function wayIn({ source, identity, proof }) {
  if (identity) return [`by ${identity}`, proof];
  return [source === "ledger" ? "key, of the ledger" : "key, of the configuration", ""];
}

function used({ last_used, last_day }, at, where) {
  if (last_used) return where.recent(last_used, at);
  return last_day ? where.date(`${last_day}T12:00:00Z`, at) : "never, as far as is known";
}

// Buttons stay the same nodes: one that has the focus keeps it.
function buttons(cell, { id, team, state }, changeable) {
  const wanted = changeable ? (STATES[state]?.[1] ?? []) : [];
  if (cell.dataset.buttons === wanted.join()) return;
  cell.dataset.buttons = wanted.join();
  cell.replaceChildren(
    ...wanted.map((word) => {
      const button = make("button", { type: "button", "aria-label": `${word} key ${id}` }, word);
      button.addEventListener("click", () => open(word, id, team));
      return button;
    }),
  );
}

let refresh = () => {};

export function renderCallers({ at, keys, members, changeable }, time_zone) {
  const where = f.zone(time_zone);
  const all = [...keys, ...members.map((member) => ({ ...member, state: "valid" }))];
  const rows = all.filter(({ id, team }) => isSeen(team) && (!view.caller || id === view.caller));
  const soon = keys.filter(({ state }) => state === "expiring").length;
  sayIf(field("callers.summary"), soon ? `${f.counted(soon, "key")} will expire within two weeks` : "");
  sayIf(
    field("callers.note"),
    changeable
      ? ""
      : "Keys are changed with the command line, mavera-gateway key, or here once the configuration has admin.keys_token.",
  );
  hide(field("callers.none"), rows.length > 0);
  hide(table, rows.length === 0);
  list(table.tBodies[0], rows, ({ id }) => id, callerRow, (row, caller) => {
    const cell = (name) => row.querySelector(`[data-cell="${name}"]`);
    const { team, state, expires, revoked, spent, identity } = caller;
    say(cell("team"), team);
    put(cell("state"), "class", `tag ${STATES[state]?.[0] ?? ""}`);
    sayIf(cell("state"), state === "valid" ? "" : state);
    const [way, proof] = wayIn(caller);
    if (!cell("way").firstChild) cell("way").append(make("span"), make("span", { class: "under" }));
    say(cell("way").firstChild, way);
    sayIf(cell("way").lastChild, proof);
    say(cell("used"), used(caller, at, where));
    const end = revoked ?? expires;
    say(cell("until"), end ? where.moment(end, at) : "–");
    put(cell("until"), "class", state === "expiring" ? "soon" : null);
    say(cell("spent"), f.amount(spent));
    buttons(cell("change"), identity ? {} : caller, changeable);
  });
  fit(table);
}

// What is asked before anything is done.
const CHANGES = {
  Replace: {
    title: (id) => `Replace key ${id}?`,
    text: (id, team) =>
      `Another key of team ${team} is made and shown once. Key ${id} goes on beside it for the time below, never beyond its own end.`,
    label: "How long the old key goes on",
    value: "24h",
    send: (id, overlap) => [`admin/v1/keys/${id}/rotate`, "POST", { overlap }],
  },
  Revoke: {
    title: (id) => `Revoke key ${id}?`,
    text: (id, team) =>
      `Team ${team} is refused with it within a second, on every gateway, for good. What is under way goes on. Nothing takes this back.`,
    label: "Why, for whoever reads it later",
    value: "",
    send: (id, why) => [`admin/v1/keys/${id}`, "DELETE", { why }],
  },
};

let change = null; // what the dialog asks about

function open(word, id, team) {
  change = { word, id };
  const { title, text, label, value } = CHANGES[word];
  say(field("key.title"), title(id));
  say(field("key.text"), text(id, team));
  say(field("key.label"), label);
  form.detail.value = value;
  form.token.value = "";
  say(field("key.problem"), "");
  say(form.confirm, `${word} key ${id}`);
  hide(form, false);
  hide(made, true);
  dialog.showModal();
  form.token.focus();
}

// What is under way may bring a key that is shown once: it is waited for.
dialog.addEventListener("cancel", (event) => {
  if (form.confirm.disabled) event.preventDefault();
});

// Nothing of a key or a token is left behind in the document.
dialog.addEventListener("close", () => {
  form.token.value = "";
  say(field("key.made"), "");
  change = null;
});

for (const button of dialog.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => form.confirm.disabled || dialog.close());
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { word, id } = change;
  const [address, method, body] = CHANGES[word].send(id, form.detail.value.trim());
  form.confirm.disabled = true;
  const answer = await send(address, method, body, form.token.value.trim());
  form.confirm.disabled = false;
  if (answer.error) {
    say(field("key.problem"), answer.error);
    return form.token.focus();
  }
  refresh();
  if (!answer.key) {
    announce(`Key ${id} is revoked.`);
    return dialog.close();
  }
  form.token.value = "";
  hide(form, true);
  hide(made, false);
  say(field("key.title"), `Key ${answer.id} takes the place of ${id}`);
  say(field("key.text"), "Give it to the team now: it is stored nowhere, and will not be shown again.");
  say(field("key.made"), answer.key);
  made.querySelector("button").focus();
});

// The token goes with this one request, and is kept nowhere: what a page of another site makes a browser send has none.
async function send(address, method, body, token) {
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  let answer = null;
  let response;
  try {
    response = await fetch(address, {
      method,
      headers,
      body: JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      redirect: "error",
    });
    answer = await response.json();
  } catch {
    return { error: "No answer came. Look at the list whether it was done, before you try again." };
  }
  return response.ok ? answer : { error: answer?.error?.message ?? `It was answered with status ${response.status}.` };
}

export function wireCallers(again) {
  refresh = again;
}
