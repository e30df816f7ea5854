// The state of the budgets: the organisation's, the upstream's account of it, the teams', and what is in flight.

import { bar } from "./bar.js";
import { ring } from "./ring.js";
import { renderQueue } from "./queue.js";
import { isSeen, onView } from "./view.js";
import { field, fit, hide, list, make, put, say, sayIf } from "./dom.js";
import * as f from "./format.js";
import { renderJobs } from "./jobs.js";
import { renderReplicas } from "./replicas.js";
import { renderRefusals } from "./refusals.js";
import { driftMeans } from "./words.js";

const PERIODS = { day: "today", week: "this week", month: "this month" };

// Where a budget stands, in a word. `reserve` is what the next call would have to hold.
export function judge(standing, reserve) {
  if (standing.credits === null) return { state: "none", tag: "" };
  const total = standing.credits + (standing.granted ?? 0);
  const taken = standing.used + standing.held;
  const over = taken - total;
  if (over > 1e-9) return { state: "over", tag: `over by ${f.amount(over)}`, total, taken };
  if (standing.left < reserve) return { state: "over", tag: "used up", total, taken };
  if (taken >= 0.9 * total) return { state: "near", tag: "nearly used", total, taken };
  return { state: "fine", tag: "", total, taken };
}

const barText = (standing, { total }) =>
  `${f.amount(standing.used)} used, ${f.amount(standing.held)} held, ${f.amount(standing.left)} left of ${f.credits(total)}`;

function hero(name, value) {
  const node = field(name);
  say(node, f.amount(value));
  node.parentElement.classList.toggle("long", node.textContent.length > 12);
}

// Of less than a day there is no pace.
const paceText = ({ per_day, used }, unit = "") => {
  if (per_day !== null) return `${f.pace(per_day)}${unit} a day`;
  return used > 0 ? "too early to tell" : "nothing spent";
};

// What credits are in money, if their price is configured.
const money = (value, price) =>
  price ? ` (${(value * price.amount).toLocaleString("en-GB", { minimumFractionDigits: 2, maximumFractionDigits: 2 })} ${price.currency})` : "";

// A moment to come, and how far off it is. `lead` stands before it.
function coming(node, lead, iso, at, where) {
  if (!node.querySelector("time"))
    node.replaceChildren(make("span"), make("time"), make("span", { class: "under" }));
  const [before, time, distance] = node.children;
  say(before, lead);
  f.showTime(time, iso, where.moment(iso, at), where);
  say(distance, ` in ${f.span(f.seconds(at, iso))}`);
}

// When a budget is used up at its pace, or that it lasts.
function runsOut(node, { per_day, runs_out }, { state }, at, where, end, grant = "") {
  const gone = state === "over";
  node.classList.toggle("soon", gone || runs_out !== null);
  if (gone) say(node, grant ? `refused until it resets or gets a grant: credits grant --team ${grant}` : "refused until it resets");
  else if (runs_out === null) say(node, per_day === null ? "too early to tell" : `lasts until ${end}`);
  else if (f.seconds(at, runs_out) <= 0) say(node, "has run out");
  else coming(node, "runs out ", runs_out, at, where);
}

const resets = (node, standing, at, where) => coming(node, "", standing.resets, at, where);

function renderPool({ organisation, reserve, saved, price, at, time_zone }) {
  const where = f.zone(time_zone);
  const verdict = judge(organisation, reserve);
  const budget = verdict.state !== "none";
  const card = document.getElementById("pool");
  put(card, "data-state", verdict.state);
  for (const node of card.querySelectorAll("[data-when=budget]")) hide(node, !budget);
  const period = PERIODS[organisation.period];
  hero("pool.hero", budget ? organisation.left : organisation.used);
  say(field("pool.unit"), budget ? "credits left" : `credits used ${period}`);
  say(
    field("pool.of"),
    budget
      ? `of ${f.credits(verdict.total)} ${period}${verdict.tag ? `: ${verdict.tag}` : ""}`
      : "No budget is set for the organisation: only the teams’ own bind.",
  );
  const meter = card.querySelector(".bar");
  hide(meter, !budget);
  if (budget) bar(meter, { ...organisation, ...verdict, text: barText(organisation, verdict) });
  say(field("pool.used"), f.credits(organisation.used) + money(organisation.used, price));
  say(field("pool.held"), f.credits(organisation.held));
  if (budget) {
    say(field("pool.left"), f.credits(organisation.left));
    say(field("pool.granted"), f.credits(organisation.granted ?? 0));
    runsOut(field("pool.runs_out"), organisation, verdict, at, where, "it resets", "organisation");
  }
  say(field("pool.pace"), paceText(organisation, " credits"));
  const { forecast } = organisation;
  const about = (value) => f.amount(Math.round(value));
  say(field("pool.forecast"), forecast ? `about ${about(forecast.likely)} credits${money(forecast.likely, price)}` : paceText(organisation));
  const over = budget && forecast && forecast.likely > verdict.total;
  put(field("pool.forecast"), "class", over ? "soon" : null);
  sayIf(
    field("pool.range"),
    forecast && forecast.high > forecast.low ? `${about(forecast.low)} to ${about(forecast.high)} in 8 of 10 cases` : "",
  );
  resets(field("pool.resets"), organisation, at, where);
  say(field("pool.saved"), saved > 0 ? f.credits(saved) : "nothing yet");
}

// What the period before came to. It stands in the ledger, where the rest of the card is from memory.
export function renderLastPeriod({ last_period: { since, until, credits, in_doubt } }, { price }) {
  const day = (date) => f.bucket(date, "day", "short");
  const doubt = in_doubt > 0 ? `, ${f.amount(in_doubt)} of them in doubt` : "";
  say(field("pool.last"), credits > 0 ? f.credits(credits) + money(credits, price) + doubt : "nothing booked");
  say(field("pool.last_dates"), since === until ? day(since) : `${day(since)} to ${day(until)}`);
}

// Where the ledger is written to.
export function renderDisk(disk) {
  say(field("flight.disk"), disk ? `${f.bytes(disk.free_bytes)} of ${f.bytes(disk.total_bytes)} free` : "not known");
}

// `elapsed`: seconds since the figures came, so that ages go on while the gateway does not answer.
export function renderUpstreamAge({ upstream, usage_interval_seconds, at, time_zone }, elapsed) {
  if (!upstream) return;
  const age = f.seconds(upstream.read_at, at) + elapsed;
  say(field("upstream.read"), `Read ${f.span(age)} ago.`);
  put(field("upstream.read"), "title", f.zone(time_zone).full(upstream.read_at));
  hide(field("upstream.stale"), !(usage_interval_seconds > 0 && age > 3 * usage_interval_seconds));
}

function renderUpstream({ upstream, usage_interval_seconds, at, time_zone }) {
  const where = f.zone(time_zone);
  hide(document.getElementById("upstream-figures"), !upstream);
  const none =
    usage_interval_seconds > 0
      ? `Not read yet. The upstream’s account is read every ${f.span(usage_interval_seconds)}.`
      : "Switched off: upstream.usage_interval is 0, so the upstream’s account is not read.";
  sayIf(field("upstream.none"), upstream ? "" : none);
  if (!upstream) return;
  const { included, used, remaining, drift, period_start, period_end } = upstream;
  hero("upstream.remaining", remaining);
  say(
    field("upstream.of"),
    `of ${f.credits(included)}, ${where.date(period_start, at)} to ${where.date(period_end, at)}`,
  );
  bar(document.querySelector("[data-bar=upstream]"), {
    used,
    total: included,
    state: used >= 0.9 * included ? "near" : "fine",
    text: `${f.amount(used)} used by everybody, ${f.amount(remaining)} remain of ${f.credits(included)}`,
  });
  for (const name of ["used", "api_used", "ours", "in_doubt"])
    say(field(`upstream.${name}`), f.credits(upstream[name]));
  say(field("upstream.drift"), drift === 0 ? "none" : `${f.difference(drift)} credits`);
  put(field("upstream.drift"), "class", drift === 0 ? null : "soon");
  say(field("upstream.drift_means"), driftMeans(upstream, f.credits));
  runsOut(field("upstream.runs_out"), upstream, {}, at, where, "the period ends");
  renderUpstreamAge({ upstream, usage_interval_seconds, at, time_zone }, 0);
}

function renderFlight({ in_flight, window: { used, limit }, teams, ledger, reserve }) {
  hero("flight.requests", in_flight.requests);
  say(field("flight.unit"), in_flight.requests === 1 ? "request" : "requests");
  say(
    field("flight.draining"),
    in_flight.draining > 0
      ? `${f.amount(in_flight.draining)} of them read on to learn their cost: their callers have left`
      : "no caller has left before its answer’s end",
  );
  const text = `${f.amount(used)} of ${f.amount(limit)} requests/min`;
  say(field("flight.window"), text);
  ring(document.querySelector("[data-ring=window]"), {
    used,
    total: limit,
    state: used >= 0.9 * limit ? "near" : "fine",
    text,
  });
  say(field("flight.waiting"), f.amount(teams.reduce((sum, { waiting }) => sum + waiting, 0)));
  say(field("flight.held"), f.credits(in_flight.held));
  say(field("flight.open_holds"), f.amount(ledger.open_holds));
  say(field("flight.reserve"), f.credits(reserve));
}

// As many teams as are listed at once; those that need somebody are never left out.
const AT_ONCE = 20,
  FIRST = 12;
let all = false;
let last = null; // the overview that is shown

document.getElementById("all-teams").addEventListener("click", () => {
  all = !all;
  renderTeams(last);
});

const COLUMNS = [
  "Taken",
  "Used",
  "Held",
  "Left",
  "Budget",
  "Pace",
  "At this pace",
  "Resets",
  "Calls in flight",
];

function teamRow({ name }) {
  const head = make(
    "th",
    { scope: "row", role: "rowheader" },
    make("span", { class: "name" }, name),
    make("span", { class: "tag", "data-cell": "tag" }),
  );
  const cells = COLUMNS.map((label) => make("td", { role: "cell", "data-label": label }));
  const [budget, used, held, left, of, pace, out, reset, flight] = cells;
  for (const cell of [used, held, left, of, pace, flight]) cell.classList.add("num");
  budget.classList.add("budget");
  budget.append(
    make("div", { class: "bar", role: "meter", "aria-label": `Budget of ${name}` }),
    make("span", { "data-cell": "share" }),
  );
  const under = (name) => make("span", { class: "under", "data-cell": name });
  used.append(make("span", { "data-cell": "used" }), under("saved"));
  of.classList.add("total");
  of.append(make("span", { "data-cell": "of" }), under("granted"));
  const names = { held, left, pace, runs_out: out, resets: reset, flight };
  for (const [cell, node] of Object.entries(names)) put(node, "data-cell", cell);
  return make("tr", { role: "row", "data-team": name }, head, ...cells);
}

function fillTeam(row, team, { at, time_zone }) {
  const { standing, calls_in_flight, concurrency, waiting, saved, verdict } = team;
  const where = f.zone(time_zone);
  const cell = (name) => row.querySelector(`[data-cell="${name}"]`);
  const budget = verdict.state !== "none";
  put(row, "data-state", verdict.state);
  sayIf(cell("tag"), verdict.tag);
  const meter = row.querySelector(".bar");
  hide(meter, !budget);
  if (budget) bar(meter, { ...standing, ...verdict, text: barText(standing, verdict) });
  say(cell("share"), budget ? f.percent(verdict.taken, verdict.total) : "no budget of its own");
  say(cell("used"), f.amount(standing.used));
  sayIf(cell("saved"), saved > 0 ? `${f.amount(saved)} saved by retries` : "");
  say(cell("held"), f.amount(standing.held));
  say(cell("left"), budget ? f.amount(standing.left) : "–");
  say(cell("of"), budget ? `${f.amount(verdict.total)} a ${standing.period}` : "–");
  sayIf(cell("granted"), standing.granted > 0 ? `${f.amount(standing.granted)} granted` : "");
  say(cell("pace"), paceText(standing));
  if (budget) runsOut(cell("runs_out"), standing, verdict, at, where, "it resets", team.name);
  else say(cell("runs_out"), "–");
  resets(cell("resets"), standing, at, where);
  const inQueue = waiting > 0 ? `, ${f.amount(waiting)} waiting` : "";
  say(cell("flight"), `${f.amount(calls_in_flight)} of ${f.amount(concurrency)}${inQueue}`);
}

function renderTeams(overview) {
  const listed = overview.teams.filter(({ name }) => isSeen(name));
  const teams = listed.map((team) => ({ ...team, verdict: judge(team.standing, overview.reserve) }));
  // Whoever needs somebody first: used up, nearly, then whose credits run out before they reset, the soonest first.
  const urgency = ({ verdict, standing }) =>
    verdict.state === "over" ? 0 : verdict.state === "near" ? 1 : standing.runs_out ? 2 : 3;
  teams.sort(
    (a, b) =>
      urgency(a) - urgency(b) ||
      (a.standing.runs_out ?? "").localeCompare(b.standing.runs_out ?? "") ||
      a.name.localeCompare(b.name),
  );
  const count = (state) => teams.filter(({ verdict }) => verdict.state === state).length;
  const [over, near] = [count("over"), count("near")];
  const parts = [f.counted(teams.length, "team")];
  if (over) parts.push(`${over} used up or over`);
  if (near) parts.push(`${near} nearly used`);
  if (teams.length && !over && !near) parts.push("all with credits to spare");
  say(field("teams.summary"), teams.length ? parts.join(" · ") : "");
  hide(field("teams.none"), teams.length > 0);
  const table = document.querySelector("table.teams");
  hide(table, teams.length === 0);
  list(
    table.tBodies[0],
    teams,
    ({ name }) => name,
    teamRow,
    (row, team) => fillTeam(row, team, overview),
  );
  const long = teams.length > AT_ONCE;
  let leftOut = 0;
  teams.forEach(({ verdict }, index) => {
    const out = long && !all && index >= FIRST && !["over", "near"].includes(verdict.state);
    hide(table.tBodies[0].rows[index], out);
    leftOut += out;
  });
  fit(table);
  const more = document.getElementById("all-teams");
  hide(more, !long || (!all && leftOut === 0));
  put(more, "aria-expanded", all);
  say(more, all ? "Show fewer teams" : `Show ${f.counted(leftOut, "more team")}`);
}

onView(() => last && renderOverview(last));

export function renderOverview(overview) {
  last = overview;
  renderPool(overview);
  renderUpstream(overview);
  renderFlight(overview);
  renderTeams(overview);
  renderQueue(overview);
  renderJobs(overview);
  renderReplicas(overview);
  renderRefusals(overview);
}
