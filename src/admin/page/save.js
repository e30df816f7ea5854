// Every figure and table as CSV, of what is looked at. It is fetched, not linked to: a link could not bring the token.

import { announce, field, sayIf } from "./dom.js";
import { ask } from "./feed.js";
import { query } from "./view.js";

const TIMEOUT = 15_000;

async function save(name) {
  const text = await ask(`credits/${name}.csv?${query()}`, "text/csv", AbortSignal.timeout(TIMEOUT));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = `credits-${name}-${new Date().toISOString().slice(0, 10)}.csv`;
  link.click();
  // Some browsers read it after the click.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  announce(`Saved ${link.download}`);
}

export function wireSaving() {
  for (const button of document.querySelectorAll("button[data-csv]"))
    button.addEventListener("click", async () => {
      sayIf(field("save.problem"), "");
      try {
        await save(button.dataset.csv);
      } catch ({ message }) {
        sayIf(field("save.problem"), `The file was not saved: ${message || "no answer came."}`);
      }
    });
}
