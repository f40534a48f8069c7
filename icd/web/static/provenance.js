// Where a number comes from: a dialog with its runs, and what their manifests say.

let core; // set when the page starts
const dialog = document.getElementById("provenance");

function openDialog(title, ...content) {
  dialog.querySelector("h2").textContent = title;
  dialog.querySelector(".body").replaceChildren(...content.flat().filter(Boolean));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  dialog.querySelector("h2").focus();
}

dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // beside it
});

/** The provenance of a number in a table. */
function openNumber(table, row, key) {
  openDialog(`${headingOf(table, key)} of ${row.label}`, numberText(table, row, key));
}

function headingOf(table, key) {
  const known = { AP: table.ap, gain: "Gain", difference: "Difference", seeds: "Runs" };
  return known[key] ?? table.columns[key];
}

function numberText(table, row, key) {
  if (key === "published" || key === "published_gain") return publishedText(row, key);
  if (key === "gain" || key === "difference") return [...comparisonText(table, row, key), measuredText(table)];
  if (key === "time" || key === "memory") return costText(row, key);
  if (row.runs.some((run) => run.values[key] != null)) return [...metricText(table, row, key), measuredText(table)];
  return runsText(table, row, key);
}

function publishedText(row, key) {
  const [value, other] = [fixed(row.published), signed(row.published_gain)];
  return [
    el("p", { class: "value" }, key === "published" ? value : other),
    el("p", {}, `Source: ${row.published_source}.`),
    row.published_gain == null ? null : el("p", {}, `Published AP: ${value}; published gain: ${other}.`),
  ];
}

function costText(row, key) {
  const words = key === "time" ? "1 plus the method's own time, as a share of a step without it" : "MiB that the method itself uses";
  return [
    el("p", { class: "value" }, digits(row.cells[key].value), el("span", { class: "unit" }, ` ${words}`)),
    el("p", {}, "Measured apart from the runs, by the cost benchmark: ", el("a", { href: "cost/table.md" }, "cost/table.md"), "."),
  ];
}

/** What became of each run of a row, for numbers that all of them share. */
function runsText(table, row, key) {
  const columns = [
    { title: "seed", cell: (run) => run.seed ?? "–" },
    { title: "state", cell: (run) => [run.state, run.reason].filter(Boolean).join(": ") },
    { title: "run", cell: (run) => runButton(run.run) },
    ...MANIFEST,
  ];
  const file = { seeds: "results.csv", effective_tokens: "diagnosis.csv", inside: "diagnosis.csv", recognised: "diagnosis.csv" }[key] ?? "table.csv";
  return [
    el("p", { class: "value" }, row.cells[key].text),
    row.absent ? el("p", {}, row.absent) : null,
    row.runs.length ? makeTable(`Runs of ${row.label}`, columns, row.runs, { sortable: false, unseen: true, class: "text" }) : null,
    el("p", { class: "small" }, "Unrounded: ", el("a", { href: `${table.name}/${file}` }, `${table.name}/${file}`), "."),
  ];
}

function metricText(table, row, key) {
  const runs = row.runs.filter((run) => run.values[key] != null);
  const values = runs.map((run) => run.values[key]);
  const columns = [
    { title: "seed", cell: (run) => run.seed ?? "–" },
    { title: key, number: true, cell: (run) => digits6(run.values[key]) },
    { title: "run", cell: (run) => runButton(run.run) },
    ...MANIFEST,
  ];
  const words = values.length > 1 ? `mean of ${values.length} runs` : "one run";
  return [
    el("p", { class: "value" }, `${digits6(mean(values))} %`, el("span", { class: "unit" }, ` ${words}`)),
    makeTable(`Runs of ${row.label}`, columns, runs, { sortable: false, unseen: true, class: "text" }),
  ];
}

function comparisonText(table, row, key) {
  const found = row[key];
  const other = table.rows.find((one) => one.id === found.other);
  const values = found.values.map((value) => signed(value, 4)).join(", ");
  const facts = [
    ["Difference by seed", values],
    ["95 % interval", found.low == null ? "none: it needs two seeds or a bootstrap" : `${signed(found.low, 4)} to ${signed(found.high, 4)}`],
    ["p", chance(found.p)],
    ["Covers", found.images ? (found.values.length > 1 ? "seeds and test images" : "test images") : "seeds"],
    ["Detectable", found.detectable == null ? "–" : `a true difference of ${fixed(found.detectable, 2)}, in 80 % of such experiments`],
  ];
  const columns = [
    { title: "row", cell: ([one]) => one.label },
    { title: "seed", cell: ([, run]) => run.seed ?? "–" },
    { title: table.ap, number: true, cell: ([, run]) => digits6(run.values.AP) },
    { title: "run", cell: ([, run]) => runButton(run.run) },
    ...MANIFEST.map((column) => ({ ...column, cell: ([, run]) => column.cell(run) })),
  ];
  const runs = [row, other].flatMap((one) => one.runs.filter((run) => run.values.AP != null).map((run) => [one, run]));
  return [
    el("p", { class: "value" }, signed(found.mean, 4), el("span", { class: "unit" }, ` ${row.label} over ${other.label}, paired by seed`)),
    factsList(facts),
    makeTable("Runs of both rows", columns, runs, { sortable: false, unseen: true, class: "text" }),
  ];
}

function digits6(value) {
  return value == null ? "–" : String(Number(value.toPrecision(7)));
}

function measuredText(table) {
  const hash = table.annotations ? ` with sha256 ${table.annotations}` : "";
  return el("p", { class: "small" },
    `Measured on the split ${table.split}; annotations${hash || ": no hash recorded"}. Unrounded: `,
    el("a", { href: `${table.name}/results.csv` }, `${table.name}/results.csv`), ".");
}

/** Columns of what the manifest of a run says. */
const MANIFEST = [
  { title: "trained", cell: (run) => moment(core.runs[run.run]?.recorded.time) },
  { title: "commit", cell: (run) => commitText(core.runs[run.run]?.recorded.git) },
  { title: "hardware", cell: (run) => hardwareText(core.runs[run.run]?.recorded.hardware) },
];

function runButton(run) {
  return el("button", { class: "about", onclick: () => openRun(run) }, run);
}

function commitText(git) {
  if (!git) return "–";
  return git.commit.slice(0, 10) + (git.modified ? ", with changes" : "");
}

function hardwareText(hardware) {
  if (!hardware) return "–";
  const gpus = hardware.gpus ?? [];
  return gpus.length ? `${gpus.length} × ${gpus[0]}` : hardware.processor.trim();
}

/** A list of terms; values are texts or nodes. */
function factsList(pairs) {
  const known = pairs.filter(([, value]) => value != null && value !== "");
  return el("dl", { class: "facts" }, known.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

/** The provenance of a run. */
function openRun(name) {
  const run = core.runs[name];
  if (!run || !Object.keys(run.recorded).length) {
    openDialog(name, el("p", {}, "There is no manifest of this run, so nothing is known about its making."));
    return;
  }
  const { recorded, summary, sources } = run;
  const machine = recorded.hardware ?? {};
  const facts = [
    ["Commit", recorded.git ? recorded.git.commit + (recorded.git.modified ? " (with uncommitted changes)" : "") : "not recorded"],
    ["Recorded", moment(recorded.time)],
    ["Took", duration(recorded.seconds)],
    ["Hardware", `${hardwareText(machine)}; ${machine.simd ? `${machine.simd}, ` : ""}${machine.cores ?? "?"} cores, threads per process: ${machine.threads ?? "?"}`],
    ["Driver", ["driver", "cuda", "cudnn", "nccl"].filter((key) => machine[key]).map((key) => `${key} ${machine[key]}`).join(", ")],
    ["Peak memory", Object.entries(recorded.peak_memory_mib ?? {}).map(([what, mib]) => `${what}: ${mib.toFixed(0)} MiB`).join(", ")],
    ["Versions", Object.entries({ python: recorded.python, ...recorded.versions }).filter(([, version]) => version).map(([what, version]) => `${what} ${version}`).join(", ")],
    ["Arithmetic", recorded.arithmetic ? JSON.stringify(recorded.arithmetic).replace(/["{}]/g, "").replaceAll(",", ", ") : ""],
    ...Object.entries(sources).map(([role, id]) => [{ teacher: "Teacher", pretrained: "Starts from", decoder: "Decoder" }[role] ?? role, runButton(id)]),
    ["Warnings", (recorded.diagnosis?.warnings ?? []).join("; ")],
  ];
  const made = Object.entries(summary).filter(([key, value]) => value != null && key !== "teacher").map(([key, value]) => `${key} ${value}`);
  openDialog(name,
    el("p", {}, made.join(" · ")),
    factsList(facts),
    sessionsText(recorded.sessions),
    el("details", {}, el("summary", {}, "Inputs (sha256)"), factsList(Object.entries(recorded.inputs ?? {}))),
    el("details", {}, el("summary", {}, "Full description"), el("pre", { tabindex: "0" }, JSON.stringify(run.description, null, 1))),
    el("p", { class: "small" }, "From ", el("a", { href: `manifests/${name}.json` }, `manifests/${name}.json`), "."),
  );
}

/** The sessions of a training that was interrupted. */
function sessionsText(sessions) {
  if (!sessions || sessions.length < 2) return null;
  const lines = sessions.map((one) => `iterations ${one.iterations.join(" to ")}: ${moment(one.time)}, commit ${commitText(one.git)}`);
  return el("details", {}, el("summary", {}, `${sessions.length} sessions`), el("ul", {}, lines.map((line) => el("li", {}, line))));
}
