// What a person sees on the credits page, as text. Runs inside the page, so it can use nothing from here.
export function read() {
  const seen = (node) => node?.checkVisibility() ?? false;
  const text = (node) => (seen(node) ? node.innerText.trim() : null);
  const one = (selector, from = document) => text(from.querySelector(selector));
  const field = (name) => one(`[data-field="${name}"]`);
  const cell = (name, from) => one(`[data-cell="${name}"]`, from);
  const fields = (group, names) => Object.fromEntries(names.map((name) => [name, field(`${group}.${name}`)]));
  const rows = (selector) => [...document.querySelectorAll(`${selector} > tbody > tr`)].filter(seen);
  const table = document.querySelector("#spend-details table");
  const heads = [...(table.tHead.rows[0]?.cells ?? [])].slice(1).map((head) => head.textContent);
  const named = (form) =>
    Object.fromEntries(["outcome", "basis", "id"].map((name) => [name, form[name].value]));
  const enabled = (id) => !document.getElementById(id).disabled;

  return {
    title: document.title,
    url: location.href,
    state: field("state"),
    banner: field("banner"),
    at: field("at"),
    at_full: document.querySelector("[data-field=at]").title || null,
    zone: field("zone"),
    version: field("version"),
    stale: document.body.hasAttribute("data-stale"),
    token: {
      asked: seen(document.getElementById("token")),
      problem: one("#token-problem"),
      kept: seen(document.getElementById("forget")),
    },
    pool: fields("pool", [
      "hero",
      "unit",
      "of",
      "used",
      "held",
      "left",
      "granted",
      "pace",
      "runs_out",
      "forecast",
      "range",
      "last",
      "last_dates",
      "resets",
      "saved",
    ]),
    upstream: fields("upstream", [
      "none",
      "remaining",
      "of",
      "used",
      "api_used",
      "ours",
      "in_doubt",
      "drift",
      "drift_means",
      "runs_out",
      "read",
      "stale",
    ]),
    // What all of the page looks at.
    view: Object.fromEntries(
      ["range", "team", "caller", "since", "until"].map((name) => [
        name,
        document.querySelector("form.view")[name].value,
      ]),
    ),
    callers_offered: [...document.querySelector("form.view").caller.options].map(({ value }) => value),
    flight: {
      ...fields("flight", ["requests", "draining", "window", "held", "open_holds", "reserve", "waiting", "disk"]),
      ring: one("[data-ring=window] span"),
    },
    queue: {
      none: field("queue.none"),
      rows: Object.fromEntries(
        rows("table.queue").map((row) => [
          row.dataset.team,
          Object.fromEntries(["waiting", "least", "behind"].map((name) => [name, cell(name, row)])),
        ]),
      ),
    },
    jobs_summary: field("jobs.summary"),
    jobs: Object.fromEntries(
      rows("table.jobs").map((row) => [
        row.dataset.route,
        Object.fromEntries(["taken", "waiting", "unknown", "doubt"].map((name) => [name, cell(name, row)])),
      ]),
    ),
    teams_summary: field("teams.summary"),
    teams_order: rows("table.teams").map((row) => row.dataset.team),
    teams: Object.fromEntries(
      rows("table.teams").map((row) => [
        row.dataset.team,
        {
          ...Object.fromEntries(
            ["tag", "share", "used", "saved", "granted", "held", "left", "of", "pace", "runs_out", "resets", "flight"].map(
              (name) => [name, cell(name, row)],
            ),
          ),
          bar: seen(row.querySelector(".bar")) ? row.querySelector(".bar").ariaValueText : null,
        },
      ]),
    ),
    replicas: {
      summary: field("replicas.summary"),
      rows: rows("table.replicas").map((row) => ({
        name: one(".name", row),
        ...Object.fromEntries(
          ["own", "version", "since", "in_flight", "waiting", "lease"].map((name) => [name, cell(name, row)]),
        ),
      })),
    },
    spend: {
      ...fields("spend", ["title", "by", "behind", "none", "problem", "shown", "span", "shown_total", "total"]),
      per: document.querySelector("[data-per][aria-pressed=true]").dataset.per,
      drawn: seen(document.querySelector("#spend canvas")),
      // By name: of the time that is shown, and of all that is drawn, and what of that is in doubt.
      legend: Object.fromEntries(
        rows("#spend .legend").map((row) => {
          const [shown, total] = [1, 2].map((at) => [...row.cells[at].children].map(text));
          return [text(row.cells[0]), { shown: shown[0], total: total[0], shown_doubt: shown[1], doubt: total[1] }];
        }),
      ),
      // By first day, then team: only while the table is open.
      table: Object.fromEntries(
        rows("#spend-details table").map((row) => [
          row.dataset.bucket,
          {
            label: text(row.cells[0]),
            teams: Object.fromEntries(
              heads.map((team, index) => {
                const [credits, doubt] = [...row.cells[index + 1].children].map(text);
                return [team, { credits, doubt }];
              }),
            ),
          },
        ]),
      ),
    },
    requests: {
      ...fields("requests", ["note", "none", "problem", "zone", "settles"]),
      filters: named(document.querySelector("form.calls-filter")),
      newest: enabled("newest"),
      older: enabled("older"),
      rows: rows("table.calls").map((row) => ({
        call: row.dataset.call,
        at: cell("at", row),
        at_full: row.querySelector("time").title,
        team: one(".name", row),
        key: one("[data-cell=team] .under", row),
        outcome: cell("outcome", row),
        credits: one("[data-cell=credits] > :first-child", row),
        overrun: one("[data-cell=credits] .under", row),
        basis: cell("basis", row),
        tokens: cell("tokens", row),
        request_id: cell("request_id", row),
        response_id: cell("response_id", row),
      })),
    },
    grants: {
      ...fields("grants", ["summary", "none", "problem"]),
      rows: rows("table.grants").map((row) =>
        Object.fromEntries(["team", "credits", "from", "until", "why"].map((name) => [name, cell(name, row)])),
      ),
    },
    callers: {
      ...fields("callers", ["summary", "none", "note", "problem"]),
      rows: Object.fromEntries(
        rows("table.callers").map((row) => [
          row.dataset.caller,
          {
            ...Object.fromEntries(
              ["team", "state", "way", "used", "until", "spent"].map((name) => [name, cell(name, row)]),
            ),
            buttons: [...row.querySelectorAll("button")].map(text),
          },
        ]),
      ),
    },
    // The question whether something is to be done to a key.
    key: fields("key", ["title", "text", "label", "problem", "made"]),
    refusals: Object.fromEntries(
      rows("table.refused").map((row) => [
        row.dataset.code,
        {
          meaning: one(".meaning", row),
          count: cell("count", row),
          teams: cell("teams", row),
        },
      ]),
    ),
    refusals_none: field("refusals.none"),
  };
}
