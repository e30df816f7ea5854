// The calls that held credits: filters of their own beside what all of the page looks at, and pages.

import { announce, field, fit, hide, list, make, put, say, sayIf } from "./dom.js";
import * as f from "./format.js";
import { look, offer, onView, view } from "./view.js";
import { BASES, OUTCOMES, basis, outcomeMeans, plain } from "./words.js";

const PAGE = 25;
const form = document.querySelector("form.calls-filter");
const table = document.querySelector("table.calls");
const newest = document.getElementById("newest");
const older = document.getElementById("older");
const clear = document.getElementById("clear");
const names = ["outcome", "basis", "id"];

let before = null;
let next = null;

const isFirstPage = () => before === null;

// What is asked for beside what all of the page looks at.
export const paging = () => ({ limit: PAGE, before });

function showFilters() {
  offer(form.outcome, Object.keys(OUTCOMES), view.outcome, plain);
  offer(form.basis, ["final", "estimated", "derived"], view.basis, (word) => (word === "estimated" ? "in doubt" : word));
  if (form.id.value.trim() !== view.id) form.id.value = view.id;
}

// `changed` is called when other rows are wanted than before.
export function wireRequests(changed) {
  const turn = (to) => {
    before = to;
    changed();
  };
  const filter = () => look(Object.fromEntries(names.map((name) => [name, form[name].value.trim()])));
  let typing = null;
  form.addEventListener("input", () => {
    // Ids are pasted or typed: ask when the hand rests, not at every letter.
    clearTimeout(typing);
    typing = setTimeout(filter, 250);
  });
  form.addEventListener("change", filter);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    filter();
  });
  clear.addEventListener("click", () => {
    for (const name of names) form[name].value = "";
    filter();
    form.outcome.focus();
  });
  newest.addEventListener("click", () => turn(null));
  older.addEventListener("click", () => turn(next));
  table.tBodies[0].addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) copy(button);
  });
  onView(() => {
    showFilters();
    turn(null);
  });
  showFilters();
  explain();
}

async function copy(button) {
  const id = button.previousElementSibling;
  try {
    await navigator.clipboard.writeText(id.textContent);
    announce(`Copied ${id.textContent}`);
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1500);
  } catch {
    // Without https a page may not write the clipboard; a selected id is one key press away from it.
    getSelection().selectAllChildren(id);
    announce("Selected: copy it with the keyboard");
  }
}

function explain() {
  const terms = (title, table, texts = (word) => word) => [
    make("dt", { class: "group" }, title),
    ...Object.entries(table).flatMap(([word, meaning]) => [
      make("dt", {}, texts(word)),
      make("dd", {}, meaning),
    ]),
  ];
  field("words").append(...terms("Outcome", OUTCOMES, plain), ...terms("Basis", BASES));
}

const cell = (name, label, ...children) =>
  make("td", { role: "cell", "data-label": label, "data-cell": name, class: label && "num" }, ...children);

function build({ call }) {
  const ids = make(
    "td",
    { role: "cell", class: "ids" },
    make(
      "div",
      {},
      make("code", { "data-cell": "request_id" }),
      make("button", { type: "button", class: "copy", title: "Copy" }),
    ),
    make("code", { "data-cell": "response_id" }),
  );
  return make(
    "tr",
    { role: "row", "data-call": call },
    cell("at", null, make("time")),
    cell("team", null, make("span", { class: "name" }), make("span", { class: "under" })),
    cell("outcome", null, make("span")),
    cell("credits", "Credits", make("span"), make("span", { class: "under" })),
    cell("basis", null),
    cell("tokens", "Tokens in / out"),
    ids,
  );
}

function fill(row, call, at, where) {
  const get = (name) => row.querySelector(`[data-cell="${name}"]`);
  f.showTime(get("at").firstChild, call.at, where.recent(call.at, at), where);
  say(get("team").firstChild, call.team);
  say(get("team").lastChild, `${call.key_id} · ${plain(call.route)}`);
  const outcome = get("outcome").firstChild;
  say(outcome, plain(call.outcome));
  put(outcome, "class", `outcome ${call.outcome === "completed" ? "good" : "other"}`);
  put(outcome, "title", outcomeMeans(call.outcome));
  say(get("credits").firstChild, f.amount(call.credits));
  sayIf(
    get("credits").lastChild,
    call.credits > call.reserved ? `more than the ${f.amount(call.reserved)} held` : "",
  );
  say(get("basis"), basis(call));
  put(get("basis"), "data-basis", call.basis ?? "back");
  put(get("basis"), "title", BASES[call.basis ?? "given back"] ?? null);
  const tokens = (count) => (count === null ? "–" : f.amount(count));
  const known = call.input_tokens !== null || call.output_tokens !== null;
  say(get("tokens"), known ? `${tokens(call.input_tokens)} / ${tokens(call.output_tokens)}` : "–");
  get("tokens").classList.toggle("none", !known);
  say(get("request_id"), call.request_id);
  put(row.querySelector("button.copy"), "aria-label", `Copy request id ${call.request_id}`);
  say(get("response_id"), call.response_id ?? "no response id");
  get("response_id").classList.toggle("none", call.response_id === null);
}

const filtered = () => [...names, "team", "caller"].some((name) => view[name]);

function note({ searched, complete, requests, next }) {
  const rows =
    requests.length === 0 ? "" : f.counted(requests.length, filtered() ? "matching request" : "request");
  if (complete) return rows && (isFirstPage() && next !== null ? `The latest ${rows}.` : `${rows}.`);
  const entries = `${isFirstPage() ? "the latest" : "a further"} ${f.counted(searched, "entry", "entries")} of the ledger`;
  return `${rows ? `${rows}: ` : ""}searched ${entries}${next === null ? "." : "; “Older” goes on from there."}`;
}

export function renderRequests(page, { at, time_zone }) {
  const where = f.zone(time_zone);
  next = page.next;
  say(field("requests.zone"), where.name);
  const rows = page.requests;
  const none = filtered()
    ? page.complete
      ? "Nothing matches."
      : "Nothing matches so far."
    : isFirstPage()
      ? "No calls have been booked on these days."
      : "There are no older ones.";
  sayIf(field("requests.none"), rows.length ? "" : none);
  say(field("requests.note"), note(page));
  const settles =
    "What is in doubt is settled by the upstream’s own list of calls: mavera-gateway credits reconcile --csv LIST --book.";
  sayIf(field("requests.settles"), view.basis === "estimated" ? settles : "");
  hide(table, rows.length === 0);
  list(
    table.tBodies[0],
    rows,
    ({ call }) => call,
    build,
    (row, call) => fill(row, call, at, where),
  );
  fit(table);
  const focused = document.activeElement;
  newest.disabled = isFirstPage();
  older.disabled = next === null;
  // A button that has done its work must not take the keyboard's place in the page with it.
  if (focused === newest && newest.disabled) older.focus();
  if (focused === older && older.disabled) newest.focus();
  hide(clear, !names.some((name) => view[name]));
}
