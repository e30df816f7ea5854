// The calls that held credits: filters, which live in the address's fragment, and pages.

import { announce, field, fit, hide, list, make, put, say, sayIf } from "./dom.js";
import * as f from "./format.js";
import { BASES, OUTCOMES, basis, outcomeMeans, plain } from "./words.js";

const PAGE = 25;
const form = document.querySelector("form.filters");
const table = document.querySelector("table.calls");
const newest = document.getElementById("newest");
const older = document.getElementById("older");
const clear = document.getElementById("clear");
const names = ["team", "outcome", "basis", "id"];

const wanted = Object.fromEntries(names.map((name) => [name, ""]));
let before = null;
let next = null;

export const isFirstPage = () => before === null;

export function address() {
  const query = new URLSearchParams({ limit: PAGE });
  for (const name of names) if (wanted[name]) query.set(name, wanted[name]);
  if (before !== null) query.set("before", before);
  return `credits/requests?${query}`;
}

// A value that is not on offer (yet) is added, so that a link with a team of last year works.
function offer(select, values, texts = (value) => value) {
  const all = new Set([...values, ...(wanted[select.name] ? [wanted[select.name]] : [])]);
  const items = ["", ...all];
  const has = [...select.options].map((option) => option.value);
  if (items.length === has.length && items.every((item, index) => item === has[index])) return;
  select.replaceChildren(...items.map((value) => make("option", { value }, value ? texts(value) : "all")));
  select.value = wanted[select.name];
}

let teams = [];

export function offerTeams(listed) {
  teams = listed;
  offer(form.team, teams);
}

function readFragment() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  for (const name of names) wanted[name] = fragment.get(name) ?? "";
  offer(form.team, teams);
  offer(form.outcome, Object.keys(OUTCOMES), plain);
  offer(form.basis, ["final", "estimated", "derived"], (word) => (word === "estimated" ? "in doubt" : word));
  for (const name of names) if (form[name].value !== wanted[name]) form[name].value = wanted[name];
}

function writeFragment() {
  const fragment = new URLSearchParams();
  for (const name of names) if (wanted[name]) fragment.set(name, wanted[name]);
  history.replaceState(
    null,
    "",
    `${location.pathname}${location.search}${fragment.size ? `#${fragment}` : ""}`,
  );
}

// `changed` is called when other rows are wanted than before.
export function wireRequests(changed) {
  const turn = (to) => {
    before = to;
    changed();
  };
  const filter = () => {
    if (names.every((name) => form[name].value.trim() === wanted[name])) return;
    for (const name of names) wanted[name] = form[name].value.trim();
    writeFragment();
    turn(null);
  };
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
    form.team.focus();
  });
  newest.addEventListener("click", () => turn(null));
  older.addEventListener("click", () => turn(next));
  table.tBodies[0].addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) copy(button);
  });
  addEventListener("hashchange", () => {
    readFragment();
    turn(null);
  });
  // From a figure to the calls it is made of.
  for (const link of document.querySelectorAll("a[href^='#basis=']"))
    link.addEventListener("click", () => document.getElementById("requests").scrollIntoView());
  readFragment();
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

const filtered = () => names.some((name) => wanted[name]);

function note({ searched, complete, requests, next }) {
  const rows =
    requests.length === 0 ? "" : f.counted(requests.length, filtered() ? "matching request" : "request");
  if (complete) return rows && (isFirstPage() && next !== null ? `The latest ${rows}.` : `${rows}.`);
  const entries = `${isFirstPage() ? "the latest" : "a further"} ${f.counted(searched, "entry", "entries")} of the ledger`;
  return `${rows ? `${rows}: ` : ""}searched ${entries}${next === null ? "." : "; “Older” goes on from there."}`;
}

export function renderRequests(page, time_zone) {
  const where = f.zone(time_zone);
  next = page.next;
  say(field("requests.zone"), where.name);
  const rows = page.requests;
  const none = filtered()
    ? page.complete
      ? "Nothing matches."
      : "Nothing matches so far."
    : isFirstPage()
      ? "No calls have been booked yet."
      : "There are no older ones.";
  sayIf(field("requests.none"), rows.length ? "" : none);
  say(field("requests.note"), note(page));
  const settles =
    "What is in doubt is settled by the upstream’s own list of calls: mavera-gateway credits reconcile --csv LIST --book.";
  sayIf(field("requests.settles"), wanted.basis === "estimated" ? settles : "");
  hide(table, rows.length === 0);
  list(
    table.tBodies[0],
    rows,
    ({ call }) => call,
    build,
    (row, call) => fill(row, call, page.at, where),
  );
  fit(table);
  const focused = document.activeElement;
  newest.disabled = isFirstPage();
  older.disabled = next === null;
  // A button that has done its work must not take the keyboard's place in the page with it.
  if (focused === newest && newest.disabled) older.focus();
  if (focused === older && older.disabled) newest.focus();
  hide(clear, !filtered());
}
