// Spend over time: stacked bars, the figures beside them, and the same figures as a table.

import { field, hide, list, make, put, say, sayIf } from "./dom.js";
import * as f from "./format.js";
import { whose } from "./view.js";
import { plain } from "./words.js";

const { uPlot } = globalThis;
// Names with a colour of their own; the rest share one, so that colours stay far enough apart.
const OWN = 7;

// What spend is told by: as a heading, and of several.
const BY = {
  team: { one: "Team", many: "teams", title: () => "Spend by team" },
  caller: { one: "Key or member", many: "keys and members", title: () => `Spend of ${whose()} by key and member` },
  route: { one: "Route", many: "routes", title: () => `Spend of ${whose()} by route` },
};

let spend = null; // as fetched
let groups = []; // the largest, then the others as one
let chosen = null; // index of the bucket that is shown; null: the running one, or the last
let plot = null;
const slots = new Map(); // team → colour, kept while the team is among the largest

const box = document.querySelector("#spend .chart");
const legend = document.querySelector("#spend .legend");
const details = document.getElementById("spend-details");
const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

function group({ buckets, by, series }) {
  const own = series.length > OWN + 1 ? series.slice(0, OWN) : series;
  const rest = series.slice(own.length);
  for (const name of slots.keys()) if (!own.some((team) => team.name === name)) slots.delete(name);
  const made = own.map((team) => {
    if (!slots.has(team.name)) {
      const taken = new Set(slots.values());
      slots.set(
        team.name,
        [1, 2, 3, 4, 5, 6, 7, 8].find((slot) => !taken.has(slot)),
      );
    }
    return { ...team, name: by === "route" ? plain(team.name) : team.name, key: `own ${team.name}`, slot: slots.get(team.name) };
  });
  if (rest.length) {
    const total = (of) => buckets.map((_, index) => sum(rest.map((team) => team[of][index])));
    const name = `${f.amount(rest.length)} other ${BY[by].many}`;
    made.push({ name, key: "others", slot: 0, credits: total("credits"), in_doubt: total("in_doubt") });
  }
  return made;
}

// uPlot draws no stacks: each series is the sum of those below it, and the highest is drawn first. Of each name what is in doubt
// stands on what is final.
const PARTS = 2 * (OWN + 1);
const part = (place) => ({ group: groups[place >> 1], doubt: place % 2 === 1 });

function stacked() {
  const xs = spend.buckets.map((_, index) => index);
  const sums = xs.map(() => 0);
  const series = Array.from({ length: PARTS }, (_, place) => {
    const { group, doubt } = part(place);
    if (group) xs.forEach((x) => (sums[x] += doubt ? group.in_doubt[x] : group.credits[x] - group.in_doubt[x]));
    return sums.map((value) => value || null);
  });
  return [xs, ...series.reverse()];
}

// Lines of a colour, for what is in doubt.
function hatched(colour) {
  const tile = document.createElement("canvas");
  const size = (tile.width = tile.height = Math.round(6 * devicePixelRatio));
  const pen = tile.getContext("2d");
  pen.fillStyle = style("--card");
  pen.fillRect(0, 0, size, size);
  pen.strokeStyle = colour;
  pen.lineWidth = size / 3;
  // Beyond the corners, so that lines meet those of the next tile.
  for (const shift of [-size, 0, size]) {
    pen.moveTo(shift - 1, size + 1);
    pen.lineTo(shift + size + 1, -1);
  }
  pen.stroke();
  return plot.ctx.createPattern(tile, "repeat");
}

const style = (name) => getComputedStyle(box).getPropertyValue(name).trim();
const shownIndex = () => Math.min(chosen ?? spend.running ?? Infinity, spend.buckets.length - 1);
const label = (index, length) => f.bucket(spend.buckets[index], spend.per, length);

function options(width, height) {
  const font = `12px ${getComputedStyle(box).fontFamily}`;
  const axis = {
    stroke: () => style("--muted"),
    font,
    grid: { stroke: () => style("--line"), width: 1 },
    ticks: { show: false },
  };
  const widest = (chart, values) => {
    chart.ctx.font = font;
    return 14 + Math.max(...(values ?? []).map((text) => chart.ctx.measureText(text).width), 8);
  };
  const bars = uPlot.paths.bars({ size: [0.78, 48] });
  const series = Array.from({ length: PARTS }, (_, index) => ({
    paths: bars,
    points: { show: false },
    width: 1,
    stroke: () => style("--card"),
    fill: () => {
      const { group, doubt } = part(PARTS - 1 - index);
      const colour = style(`--series-${group?.slot ?? 0}`);
      return doubt ? hatched(colour) : colour;
    },
  }));
  return {
    width,
    height,
    padding: [8, 18, 0, 0],
    legend: { show: false },
    cursor: { x: false, y: false, points: { show: false }, drag: { x: false, y: false, setScale: false } },
    scales: {
      x: { time: false, range: () => [-0.5, spend.buckets.length - 0.5] },
      y: { range: (_, __, max) => [0, max > 0 ? max * 1.06 : 1] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 24,
        gap: 4,
        // As many days as have room, counted back from the running one.
        splits: (chart) => {
          const last = spend.buckets.length - 1;
          const step = Math.ceil(
            (64 * spend.buckets.length) / Math.max(chart.bbox.width / devicePixelRatio, 1),
          );
          return spend.buckets.map((_, index) => index).filter((index) => (last - index) % step === 0);
        },
        values: (_, splits) => splits.map((index) => label(index, "short")),
      },
      { ...axis, size: widest, gap: 6, space: 36, values: (_, splits) => splits.map(f.amount) },
    ],
    series: [{}, ...series],
    hooks: {
      setCursor: [({ cursor }) => choose(cursor.idx ?? null)],
      setSize: [mark],
      drawAxes: [mark],
    },
  };
}

// A band behind the bar whose figures are shown.
let band = null;

function mark() {
  if (!plot || !spend) return;
  if (!band) plot.under.append((band = make("div", { class: "band" })));
  const left = (x) => plot.valToPos(x, "x");
  const index = shownIndex();
  band.style.left = `${left(index - 0.5)}px`;
  band.style.width = `${left(index + 0.5) - left(index - 0.5)}px`;
}

function choose(index) {
  if (index === chosen || !spend) return;
  chosen = index;
  mark();
  renderLegend();
}

box.addEventListener("keydown", (event) => {
  if (!spend) return;
  const last = spend.buckets.length - 1;
  const to = {
    ArrowLeft: shownIndex() - 1,
    ArrowDown: shownIndex() - 1,
    ArrowRight: shownIndex() + 1,
    ArrowUp: shownIndex() + 1,
    Home: 0,
    End: last,
  }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  choose(Math.min(Math.max(to, 0), last));
});

function renderLegend() {
  const index = shownIndex();
  const last = spend.buckets.length - 1;
  const title = `${label(index, "long")}${index === spend.running ? ", so far" : ""}`;
  const total = sum(groups.map((team) => team.credits[index]));
  say(field("spend.title"), BY[spend.by].title());
  say(field("spend.by"), BY[spend.by].one);
  say(field("spend.unit"), `credits a ${spend.per}`);
  for (const button of document.querySelectorAll("[data-per]")) put(button, "aria-pressed", button.dataset.per === spend.per);
  say(field("spend.shown"), title);
  say(field("spend.span"), f.counted(last + 1, spend.per));
  list(
    legend.tBodies[0],
    groups,
    ({ key }) => key,
    () =>
      make(
        "tr",
        {},
        make(
          "th",
          { scope: "row" },
          make("div", {}, make("span", { class: "swatch", "aria-hidden": "true" }), make("span")),
        ),
        make("td", { class: "num" }, make("span"), make("span", { class: "doubt" })),
        make("td", { class: "num" }, make("span"), make("span", { class: "doubt" })),
      ),
    (row, { name, slot, credits, in_doubt }) => {
      const [swatch, label] = row.cells[0].firstChild.children;
      put(swatch, "data-slot", slot);
      say(label, name);
      [[credits[index], in_doubt[index]], [sum(credits), sum(in_doubt)]].forEach(([booked, doubt], at) => {
        const [figure, note] = row.cells[at + 1].children;
        say(figure, f.amount(booked));
        sayIf(note, doubt > 0 ? `${f.amount(doubt)} in doubt` : "");
      });
    },
  );
  say(field("spend.shown_total"), f.amount(total));
  say(field("spend.total"), f.amount(sum(groups.map((team) => sum(team.credits)))));
  put(box, "aria-valuemax", last);
  put(box, "aria-valuenow", index);
  put(box, "aria-valuetext", `${title}: ${f.credits(total)}`);
}

// Columns are those of the chart; built only while somebody has it open.
function renderTable() {
  if (!details.open || !spend) return;
  const table = details.querySelector("table");
  const columns = [...groups.map(({ name, key, credits, in_doubt }) => ({ name, key, credits, in_doubt }))];
  const across = (of) => spend.buckets.map((_, index) => sum(groups.map((team) => team[of][index])));
  columns.push({ name: "Together", key: "all", credits: across("credits"), in_doubt: across("in_doubt") });
  say(
    field("spend.caption"),
    `Credits per ${spend.per}, in ${f.zone(spend.time_zone).name}${spend.running === null ? "" : `; ${label(spend.running, "long")} is running`}.`,
  );
  if (!table.tHead.rows.length) table.tHead.append(make("tr", {}, make("th", { scope: "col" })));
  const [first] = table.tHead.rows[0].cells;
  say(first, { day: "Day", week: "Week", month: "Month" }[spend.per]);
  // Rows and columns are made anew where they changed, and otherwise only their text is.
  const shape = JSON.stringify([spend.per, spend.buckets, columns.map(({ key }) => key)]);
  if (table.dataset.shape !== shape) {
    table.dataset.shape = shape;
    table.tHead.rows[0].replaceChildren(
      first,
      ...columns.map(() => make("th", { scope: "col", class: "num" })),
    );
    table.tBodies[0].replaceChildren(
      ...spend.buckets.map((day, index) =>
        make(
          "tr",
          { "data-bucket": day },
          make("th", { scope: "row" }, label(index, "long")),
          ...columns.map(() => make("td", { class: "num" }, make("span"), make("span", { class: "doubt" }))),
        ),
      ),
    );
  }
  columns.forEach(({ name, credits, in_doubt }, column) => {
    say(table.tHead.rows[0].cells[column + 1], name);
    spend.buckets.forEach((_, index) => {
      const cell = table.tBodies[0].rows[index].cells[column + 1];
      say(cell.firstChild, f.amount(credits[index]));
      sayIf(cell.lastChild, in_doubt[index] > 0 ? `${f.amount(in_doubt[index])} in doubt` : "");
    });
  });
}

function draw() {
  const [width, height] = [box.clientWidth, box.clientHeight];
  if (!spend || !uPlot || width === 0) return;
  if (!plot) plot = new uPlot(options(width, height), stacked(), box);
  else if (plot.width !== width || plot.height !== height) plot.setSize({ width, height });
}

new ResizeObserver(draw).observe(box);
details.addEventListener("toggle", renderTable);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plot?.redraw(false, true));

export function renderSpend({ spend: fetched, time_zone }, not_written) {
  sayIf(
    field("spend.behind"),
    not_written > 0 ? `${f.credits(not_written)} of the last moments are not in here yet, and in the budgets above.` : "",
  );
  const told = JSON.stringify([fetched, time_zone, whose()]);
  if (told === renderSpend.told) return;
  renderSpend.told = told;
  if (spend?.per !== fetched.per || spend.buckets.length !== fetched.buckets.length) chosen = null;
  spend = { ...fetched, time_zone };
  groups = group(spend);
  hide(field("spend.none"), groups.length > 0);
  for (const node of [document.querySelector("div.spend"), details]) hide(node, groups.length === 0);
  if (plot) plot.setData(stacked());
  draw();
  mark();
  renderLegend();
  renderTable();
}
