// What is looked at: the days, whose, and which calls. It is kept in the address's fragment, so that a link shows the same.

import { hide, make, put } from "./dom.js";

const NAMES = ["range", "team", "caller", "per", "outcome", "basis", "id"];
const RANGE = "30d"; // unless another is chosen
const CUSTOM = /^\d{4}-\d\d-\d\d\.\.\d{4}-\d\d-\d\d$/;

const form = document.querySelector("form.view");
const days = document.getElementById("days");
const everything = document.getElementById("everything");
const listeners = [];
let choosing = false; // days of one's own, which are not both there yet

export const view = Object.fromEntries(NAMES.map((name) => [name, ""]));

// `listener()` is called when something else is looked at than before.
export const onView = (listener) => listeners.push(listener);

// As a query, for the gateway.
export function query(more = {}) {
  const query = new URLSearchParams({ range: view.range || RANGE });
  for (const name of NAMES.slice(1)) if (view[name]) query.set(name, view[name]);
  for (const [name, value] of Object.entries(more)) if (value !== null) query.set(name, value);
  return query;
}

// Looks at something else; what is not named stays. A caller is of a team, and bars that are right for some days are too many for others.
export function look(at) {
  if (at.range !== undefined) choosing = false;
  if (Object.entries(at).every(([name, value]) => view[name] === value)) return show();
  if (at.team !== undefined && at.team !== view.team) view.caller = "";
  if (at.range !== undefined) view.per = "";
  Object.assign(view, at);
  const fragment = new URLSearchParams();
  for (const name of NAMES) if (view[name]) fragment.set(name, view[name]);
  history.replaceState(null, "", `${location.pathname}${location.search}${fragment.size ? `#${fragment}` : ""}`);
  changed();
}

function changed() {
  show();
  for (const listener of listeners) listener();
}

function read() {
  choosing = false;
  const fragment = new URLSearchParams(location.hash.slice(1));
  for (const name of NAMES) view[name] = fragment.get(name) ?? "";
}

// A value that is not on offer (yet) is added, so that a link with a team of last year works.
export function offer(select, values, chosen, texts = (value) => value) {
  const items = ["", ...new Set([...values, ...(chosen ? [chosen] : [])])];
  const has = [...select.options].map((option) => option.value);
  if (items.length !== has.length || !items.every((item, index) => item === has[index]))
    select.replaceChildren(...items.map((value) => make("option", { value }, value ? texts(value) : "all")));
  if (select.value !== chosen) select.value = chosen;
}

let known = { teams: [], callers: [] };

// Who can be looked at.
export function offerCallers(teams, callers) {
  known = { teams, callers };
  showWhose();
}

function showWhose() {
  offer(form.team, known.teams, view.team);
  const of = known.callers.filter(({ team }) => isSeen(team));
  offer(form.caller, of.map(({ id }) => id), view.caller);
}

function show() {
  showWhose();
  const range = view.range || RANGE;
  const custom = CUSTOM.test(range) || choosing;
  const named = [...form.range.options].some(({ value }) => value === range);
  if (!named && !custom) form.range.append(make("option", { value: range }, range.replace(/^(\d+)d$/, "last $1 days")));
  form.range.value = custom ? "custom" : range;
  hide(days, !custom);
  if (CUSTOM.test(range)) [form.since.value, form.until.value] = range.split("..");
  hide(everything, !(view.range || view.team || view.caller));
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("change", ({ target }) => {
  if (target === form.range && target.value === "custom") {
    choosing = true;
    show();
    return form.since.focus();
  }
  if (target === form.range) return look({ range: target.value === RANGE ? "" : target.value });
  if (target === form.team || target === form.caller) return look({ [target.name]: target.value });
  const [since, until] = [form.since.value, form.until.value];
  // While a year is typed there are others.
  if (!form.since.validity.valid || form.until.validity.rangeUnderflow || form.until.validity.rangeOverflow) return;
  const backwards = since && until && since > until;
  put(form.until, "aria-invalid", backwards || null);
  form.until.setCustomValidity(backwards ? "The last day is before the first." : "");
  if (backwards) form.until.reportValidity();
  else if (since && until) look({ range: `${since}..${until}` });
});
everything.addEventListener("click", () => {
  look({ range: "", team: "", caller: "" });
  form.range.focus();
});
addEventListener("hashchange", () => {
  read();
  changed();
});

read();
show();

// Whether a team is looked at.
export const isSeen = (team) => !view.team || team === view.team;

// Who is looked at, in words.
export const whose = () => view.caller || view.team;
