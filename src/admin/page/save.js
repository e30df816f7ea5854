// Every figure and table as CSV, of what is looked at. It is fetched, not linked to: a link could not bring the token.

import { announce } from "./dom.js";
import { ask } from "./feed.js";
import { query } from "./view.js";

// The most calls that one file has; the command line exports all.
const CALLS = 200;

async function save(name) {
  const text = await ask(`credits/${name}.csv?${query({ limit: CALLS })}`, "text/csv");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = `credits-${name}-${new Date().toISOString().slice(0, 10)}.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
  announce(`Saved ${link.download}`);
}

// `failed` is told why there is no file.
export function wireSaving(failed) {
  for (const button of document.querySelectorAll("button[data-csv]"))
    button.addEventListener("click", () => save(button.dataset.csv).catch(failed));
}
