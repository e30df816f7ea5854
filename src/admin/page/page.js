// The credits page: what is fetched when, and what is said when it cannot be.

import { field, hide, put, say, sayIf } from "./dom.js";
import { Feed, token } from "./feed.js";
import { bytes, counted, showTime, span, zone } from "./format.js";
import { renderDisk, renderLastPeriod, renderOverview, renderUpstreamAge } from "./overview.js";
import { renderSpend } from "./chart.js";
import { paging, renderRequests, wireRequests } from "./requests.js";
import { wireSaving } from "./save.js";
import { look, offerCallers, query } from "./view.js";
import { renderCallers, wireCallers } from "./callers.js";
import { renderGrants } from "./grants.js";
import { upstreamMeans } from "./words.js";

const OLD = 10; // seconds without news after which figures are not called current

const figures = document.getElementById("figures");
const loading = document.getElementById("loading");
const banner = document.querySelector(".banner");
const gate = document.getElementById("token");
const input = document.getElementById("token-value");
const forget = document.getElementById("forget");
const controls = document.querySelectorAll(".sections, form.view");

let overview = null; // the last that came
let booked = null; // what the ledger said with it, if it could be read
let problem = null; // why the last try brought none
let news = 0; // when the overview last changed, by a clock that nobody sets
let runs = null; // the version this page came with

const age = () => (performance.now() - news) / 1000;

// A page that was hidden has old figures through no fault of the gateway, and first gets its chance to ask.
let seen = -Infinity;
document.addEventListener("visibilitychange", () => (seen = performance.now()));
const waking = () => performance.now() - seen < 6000;

const lookFeed = new Feed({
  every: 2000,
  address: () => `credits/look?${query(paging())}`,
  arrived(fetched) {
    if (fetched.overview.at !== overview?.at) news = performance.now();
    ({ overview, booked } = fetched);
    problem = null;
    runs ??= overview.version;
    if (!gate.hidden) document.getElementById("main").focus();
    hide(gate, true);
    hide(loading, true);
    hide(figures, false);
    for (const node of controls) hide(node, false);
    renderOverview(overview);
    const where = zone(overview.time_zone);
    showTime(field("at"), overview.at, where.clock(overview.at), where);
    say(field("zone"), where.name);
    say(field("version"), overview.version);
    renderBooked(fetched);
    sayState();
  },
  failed: fail,
});

// What the ledger says is all of one moment. It can fail alone: what is in memory is told without it.
function renderBooked({ overview, booked, not_written, problem }) {
  for (const part of ["spend", "requests", "callers", "grants"])
    sayIf(field(`${part}.problem`), problem ? `${problem.message} Trying again.` : "");
  if (!booked) return;
  const { callers } = booked;
  offerCallers(overview.teams.map(({ name }) => name), [...callers.keys, ...callers.members]);
  renderLastPeriod(booked, overview);
  renderDisk(booked.disk);
  renderSpend(booked, not_written);
  renderRequests(booked.requests, booked);
  renderCallers(callers, booked.time_zone);
  renderGrants(booked.grants);
}

wireCallers(() => lookFeed.start());

function fail(why) {
  problem = why;
  if (why.kind.startsWith("token_")) return demand(why);
  // The banner says it once.
  for (const part of ["spend", "requests", "callers", "grants"]) sayIf(field(`${part}.problem`), "");
  hide(loading, true);
  // An address with a mistake in it is mended where it is chosen.
  if (why.kind === "invalid_parameter") for (const node of controls) hide(node, false);
  sayState();
}

// Asks for a token, and asks the gateway nothing until there is one.
function demand(why) {
  lookFeed.stop();
  token.forget();
  overview = null;
  problem = why;
  hide(figures, true);
  hide(loading, true);
  for (const node of controls) hide(node, true);
  hide(gate, false);
  const wrong = why.kind === "token_invalid";
  say(document.getElementById("token-problem"), wrong ? "The gateway does not accept this token." : "");
  put(input, "aria-invalid", wrong || null);
  input.value = "";
  input.focus();
  sayState();
}

gate.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  token.keep(input.value.trim());
  lookFeed.start();
});

forget.addEventListener("click", () => {
  token.forget();
  // Not only hidden: a reload leaves nothing of them in this document.
  location.reload();
});

// What is said at the top of the page: state, words, tone of the banner.
function verdict() {
  const old = overview ? `Data is ${span(age())} old: ` : "";
  const lead = (text) => (old ? old + text : text[0].toUpperCase() + text.slice(1));
  switch (problem?.kind) {
    case undefined:
      break;
    case "token_required":
    case "token_invalid":
      return ["locked", "Token needed"];
    case "unreachable":
      return ["gone", "Not answering", `${lead("the gateway does not answer.")} Trying again.`, "bad"];
    case "invalid_parameter":
      return ["unknown", "Cannot be shown", `What is looked at cannot be shown. ${problem.message}`, "warn"];
    case "loopback_only":
      return ["gone", "Not shown here", problem.message, "bad"];
    default:
      return [
        "gone",
        "Not answering",
        `${lead("the gateway answered with an error.")} ${problem.message} Trying again.`,
        "bad",
      ];
  }
  if (!overview) return ["unknown", "Loading"];
  if (age() > OLD && !waking())
    return [
      "gone",
      "Not current",
      `${old}the gateway answers with the same figures again and again. Trying again.`,
      "bad",
    ];
  if (overview.ledger.closed)
    return [
      "closed",
      "Ledger closed",
      `The ledger cannot be written: ${overview.ledger.trouble ?? "the last write to it failed"}. Calls that cost credits are refused with 503 until it can be. Nothing is charged meanwhile.`,
      "bad",
    ];
  if (overview.draining) {
    return [
      "draining",
      "Shutting down",
      `The gateway is shutting down: no new calls are taken. Still in flight: ${counted(overview.in_flight.requests, "request")}.`,
      "warn",
    ];
  }
  const upstream = upstreamMeans(overview.upstream_state);
  if (upstream) return upstream;
  if (overview.configuration_problem)
    return [
      "serving",
      "Serving, by an older configuration",
      `The configuration file was refused, and the one before is in force: ${overview.configuration_problem}. mavera-gateway check says how to mend it.`,
      "warn",
    ];
  const { free_bytes, total_bytes } = booked?.disk ?? {};
  if (isNearlyFull(booked?.disk))
    return [
      "serving",
      "Serving, disk nearly full",
      `The disk under the ledger is nearly full: ${bytes(free_bytes)} of ${bytes(total_bytes)} are left. Once it is full, calls that cost credits are refused. mavera-gateway credits prune makes room.`,
      "warn",
    ];
  if (overview.version !== runs)
    return [
      "serving",
      "Serving",
      `The gateway is now version ${overview.version}, and this page is of ${runs}: reload it.`,
      "warn",
    ];
  return ["serving", "Serving"];
}

// Less than a twentieth, and less than what a busy month of calls needs.
const isNearlyFull = (disk) => disk && disk.free_bytes < 1e9 && disk.free_bytes < disk.total_bytes / 20;

function sayState() {
  const [state, word, text = "", tone = ""] = verdict();
  put(document.querySelector(".state"), "data-state", state);
  say(field("state"), word);
  put(document.body, "data-stale", state === "gone" && overview ? "" : null);
  hide(banner, !text);
  put(banner, "data-tone", tone);
  say(field("banner"), text);
  hide(forget, !token.get());
  hide(document.querySelector(".asof"), !overview);
  document.title = `${state === "serving" ? "" : `${word} · `}Credits · mavera-gateway`;
  if (overview) renderUpstreamAge(overview, age());
}

// Ages go on while nothing comes.
setInterval(() => {
  if (!document.hidden) sayState();
}, 1000);

for (const button of document.querySelectorAll("[data-per]"))
  button.addEventListener("click", () => look({ per: button.dataset.per }));

// What could not be shown may have been what is looked at no more.
wireRequests(() => {
  if (!problem?.kind.startsWith("token_")) lookFeed.start();
});
wireSaving();

// From the figure to the calls that it is made of: those in doubt, of the days of the upstream's bill.
document.getElementById("doubtful").addEventListener("click", (event) => {
  event.preventDefault();
  const { upstream, time_zone } = overview;
  const day = (iso) => zone(time_zone).day(iso);
  const range = upstream ? `${day(upstream.period_start)}..${day(upstream.period_end)}` : "";
  look({ range, team: "", caller: "", outcome: "", basis: "estimated", id: "" });
  document.getElementById("requests").scrollIntoView();
});

// The fragment belongs to the filters: going to a section must not change it.
for (const link of document.querySelectorAll(".sections a, a.skip")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    const target = document.querySelector(link.getAttribute("href"));
    target.scrollIntoView();
    target.focus({ preventScroll: true });
  });
}

lookFeed.start();
