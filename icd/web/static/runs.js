// The table of all runs.

function startRuns(view, core) {
  const measured = new Map();
  for (const table of core.tables) {
    for (const row of table.rows) {
      for (const run of row.runs) {
        if (run.values.AP == null) continue;
        const key = `${table.ap}, ${table.split}`;
        const known = measured.get(run.run) ?? {};
        measured.set(run.run, { ...known, [key]: run.values.AP });
      }
    }
  }
  const names = [...new Set([...measured.values()].flatMap((values) => Object.keys(values)))];
  const text = (key) => ({ title: key, cell: (run) => run.summary[key] ?? "–" });
  const columns = [
    { title: "run", cell: (run) => el("button", { class: "about", onclick: () => openRun(run.run) }, run.run) },
    ...["detector", "backbone", "schedule", "method"].map(text),
    { title: "inherits", cell: (run) => (run.summary.inherit ? "yes" : "no") },
    { title: "seed", number: true, cell: (run) => run.summary.seed ?? "–", value: (run) => run.summary.seed },
    ...names.map((name) => ({
      title: name, number: true,
      cell: (run) => fixed(measured.get(run.run)?.[name]), value: (run) => measured.get(run.run)?.[name],
    })),
    { title: "trained", cell: (run) => moment(run.recorded.time) },
    { title: "took", number: true, cell: (run) => duration(run.recorded.seconds), value: (run) => run.recorded.seconds },
    { title: "commit", cell: (run) => run.recorded.git?.commit.slice(0, 10) ?? "–" },
    { title: "hardware", cell: (run) => hardwareText(run.recorded.hardware) },
  ];
  const runs = Object.values(core.runs);
  const made = makeTable("Runs", columns, runs, { unseen: true, class: "text compact", filter: true });
  view.querySelector(".all-runs").replaceChildren(made);
  rove(made.querySelector("tbody"), "button.about");
}
