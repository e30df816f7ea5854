// The credits page: what is fetched when, and what is said when it cannot be.

import { field, hide, put, say, sayIf } from "./dom.js";
import { Feed, token } from "./feed.js";
import { counted, showTime, span, zone } from "./format.js";
import { renderLastPeriod, renderOverview, renderUpstreamAge } from "./overview.js";
import { renderSpend } from "./chart.js";
import { address, isFirstPage, offerTeams, renderRequests, wireRequests } from "./requests.js";
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

let overview = null; // the last that came
let problem = null; // why the last try brought none
let news = 0; // when the overview last changed, by a clock that nobody sets
let runs = null; // the version this page came with

const age = () => (performance.now() - news) / 1000;

// A page that was hidden has old figures through no fault of the gateway, and first gets its chance to ask.
let seen = -Infinity;
document.addEventListener("visibilitychange", () => (seen = performance.now()));
const waking = () => performance.now() - seen < 6000;

const overviewFeed = new Feed({
  every: 2000,
  address: () => "credits/overview",
  arrived(fetched) {
    if (fetched.at !== overview?.at) news = performance.now();
    overview = fetched;
    problem = null;
    runs ??= fetched.version;
    if (!gate.hidden) document.getElementById("main").focus();
    hide(gate, true);
    hide(loading, true);
    hide(figures, false);
    hide(document.querySelector(".sections"), false);
    renderOverview(fetched);
    offerTeams(fetched.teams.map(({ name }) => name));
    const where = zone(fetched.time_zone);
    showTime(field("at"), fetched.at, where.clock(fetched.at), where);
    say(field("zone"), where.name);
    say(field("version"), fetched.version);
    sayState();
    // The others wait for this one: what keeps it from being answered keeps them too.
    for (const feed of partFeeds) if (!feed.wanted) feed.start();
  },
  failed: fail,
});

// Part of the page can fail alone: what needs the ledger file read, while the budgets are in memory.
function failPart(name) {
  return (why) => {
    if (why.kind.startsWith("token_")) return fail(why);
    sayIf(field(`${name}.problem`), `${why.message || "No answer came in time."} Trying again.`);
  };
}

function partArrived(name) {
  sayIf(field(`${name}.problem`), "");
}

let per = "day";
const spendFeed = new Feed({
  every: 5000,
  address: () => `credits/spend?per=${per}`,
  arrived(fetched) {
    partArrived("spend");
    renderSpend(fetched);
    renderLastPeriod(fetched, overview);
  },
  failed: failPart("spend"),
});

const requestsFeed = new Feed({
  every: 2000,
  address,
  arrived(fetched) {
    partArrived("requests");
    renderRequests(fetched, overview.time_zone);
  },
  failed: failPart("requests"),
});

const callersFeed = new Feed({
  every: 10_000,
  address: () => "credits/callers",
  arrived(fetched) {
    partArrived("callers");
    renderCallers(fetched, overview.time_zone);
  },
  failed: failPart("callers"),
});

const grantsFeed = new Feed({
  every: 10_000,
  address: () => "credits/grants",
  arrived(fetched) {
    partArrived("grants");
    renderGrants(fetched);
  },
  failed: failPart("grants"),
});

const partFeeds = [spendFeed, requestsFeed, callersFeed, grantsFeed];

wireCallers(() => callersFeed.start());

function fail(why) {
  problem = why;
  if (why.kind.startsWith("token_")) return ask(why);
  // One asker is enough to learn that the gateway is back, and the banner says it once.
  for (const part of ["spend", "requests", "callers", "grants"]) partArrived(part);
  for (const feed of partFeeds) feed.stop();
  hide(loading, true);
  sayState();
}

// Asks for a token, and asks the gateway nothing until there is one.
function ask(why) {
  for (const feed of [overviewFeed, ...partFeeds]) feed.stop();
  token.forget();
  overview = null;
  problem = why;
  hide(figures, true);
  hide(loading, true);
  hide(document.querySelector(".sections"), true);
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
  overviewFeed.start();
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
    case "loopback_only":
      return ["gone", "Not shown here", problem.message, "bad"];
    case "ledger_unreadable":
      return [
        "gone",
        "Ledger unreadable",
        `${lead("the ledger cannot be read.")} ${problem.message} Trying again.`,
        "bad",
      ];
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
      "The ledger cannot be written: calls that cost credits are refused with 503 until it can be. Nothing is charged meanwhile.",
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
  if (overview.version !== runs)
    return [
      "serving",
      "Serving",
      `The gateway is now version ${overview.version}, and this page is of ${runs}: reload it.`,
      "warn",
    ];
  return ["serving", "Serving"];
}

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

const switches = document.querySelectorAll("[data-per]");
for (const button of switches) {
  button.addEventListener("click", () => {
    per = button.dataset.per;
    for (const other of switches) put(other, "aria-pressed", other === button);
    if (overview && !problem) spendFeed.start();
  });
}

wireRequests(() => {
  // Older pages stand still, so that what is being read does not move.
  requestsFeed.every = isFirstPage() ? 2000 : null;
  if (overview && !problem) requestsFeed.start();
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

overviewFeed.start();
