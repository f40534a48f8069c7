// Choosing runs as readers think of them: by table, row and seed.

const OTHERS = "Teachers and pre-trainings";

/** The rows and seeds of the tables for which something is there, as {table, label, run, ...}. */
function choices(core, isThere) {
  const found = [];
  const inTables = new Set();
  for (const table of core.tables) {
    for (const row of table.rows) {
      for (const run of row.runs) {
        inTables.add(run.run);
        if (isThere(run.run, table)) {
          const label = [row.label, seedText(run.seed)].filter(Boolean).join(", ");
          found.push({ group: table.title, table, row, run: run.run, label });
        }
      }
    }
  }
  for (const run of Object.keys(core.runs)) {
    if (!inTables.has(run) && isThere(run, null)) {
      found.push({ group: OTHERS, table: null, row: null, run, label: run });
    }
  }
  return found;
}

/** True for the first seed of a row. */
function isFirst(choice) {
  return !choice.row || choice.row.runs.find((run) => run.state === "done")?.run === choice.run;
}

/** A fieldset that chooses one of some choices; onchange gets it. */
class Picker {
  constructor(title, all, first, onchange, mark) {
    this.all = all;
    this.groups = [...new Set(all.map((choice) => choice.group))];
    this.table = el("select", { onchange: () => this.list() });
    this.row = el("select", { onchange: () => this.tell() });
    fill(this.table, this.groups.map((group) => [group, group]));
    this.about = el("button", { class: "about", onclick: () => openRun(this.chosen.run) }, "Provenance");
    this.element = el("fieldset", { class: "picker" },
      el("legend", {}, mark ? el("span", { class: `mark ${mark}`, "aria-hidden": "true" }) : null, title),
      el("label", {}, "Table ", this.table),
      el("label", {}, "Row ", this.row),
      this.about,
    );
    this.onchange = onchange;
    this.table.value = first.group;
    this.list(first);
  }

  get chosen() {
    return this.mine[this.row.value];
  }

  list(first) {
    this.mine = this.all.filter((choice) => choice.group === this.table.value);
    fill(this.row, this.mine.map((choice, place) => [place, choice.label]));
    const place = first ? this.mine.indexOf(first) : 0;
    this.row.value = Math.max(place, 0);
    this.tell();
  }

  tell() {
    this.onchange(this.chosen);
  }
}

/** Two pickers; they start with the baseline and the last row of the first table. */
function pickTwo(place, all, onchange) {
  const mine = all.filter((choice) => choice.group === all[0].group);
  const first = mine.find((choice) => choice.row?.is_baseline) ?? mine[0];
  const second = mine.findLast((choice) => choice.row !== first.row && isFirst(choice)) ?? first;
  const pair = [null, null];
  const made = [first, second].map((start, i) =>
    new Picker(`Run ${"AB"[i]}`, all, start, (choice) => {
      pair[i] = choice;
      if (pair[0] && pair[1]) onchange(pair);
    }, SERIES[i]),
  );
  place.replaceChildren(...made.map((picker) => picker.element));
}
