// Precision-recall curves of two runs.

const AVERAGED = "0.50:0.95";
const EVERY_CLASS = "all classes";

const CURVES = {
  [AVERAGED]: "IoU 0.50:0.95 (mean)",
  "0.50": "IoU 0.50",
  "0.75": "IoU 0.75",
  small: "IoU 0.50:0.95, small objects",
  medium: "IoU 0.50:0.95, medium objects",
  large: "IoU 0.50:0.95, large objects",
};

async function startPrecision(view, core) {
  const found = await part("precision");
  const of = (choice) => found[choice.run][choice.table.split][choice.table.iou_type];
  const all = choices(core, (run, table) => table && found[run]?.[table.split]?.[table.iou_type]);
  if (!all.length) return;
  const curve = view.querySelector("[name=curve]");
  const label = view.querySelector("[name=class]");
  let pair;
  const show = () => showPrecision(view, pair, pair.map(of), curve.value, label.value);
  curve.addEventListener("change", show);
  label.addEventListener("change", () => {
    listCurves(curve, pair.map(of), label.value);
    show();
  });
  pickTwo(view.querySelector(".pickers"), all, (chosen) => {
    pair = chosen;
    listClasses(label, pair.map(of));
    listCurves(curve, pair.map(of), label.value);
    show();
  });
}

function listClasses(select, both) {
  const names = new Set(both.flatMap((curves) => Object.keys(curves.classes)));
  refill(select, [EVERY_CLASS, ...names].map((name) => [name, name]));
}

function listCurves(select, both, label) {
  const names = label === EVERY_CLASS ? both.flatMap((curves) => curves.names) : [AVERAGED, "0.50"];
  refill(select, Object.entries(CURVES).filter(([name]) => names.includes(name)));
}

/** A curve of 101 precisions, or null. */
function precisionCurve(curves, name, label) {
  if (label !== EVERY_CLASS) {
    const packed = curves.classes[label];
    return packed ? precisionsOf(packed)[name === AVERAGED ? 0 : 1] : null;
  }
  const place = curves.names.indexOf(name);
  return place < 0 ? null : precisionsOf(curves.curves)[place];
}

function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function showPrecision(view, pair, both, name, label) {
  const lines = both.map((curves) => precisionCurve(curves, name, label));
  const recalls = [...Array(101).keys()].map((step) => step / 100);
  const figure = view.querySelector("figure.precision");
  const areas = pair.map((choice, place) =>
    lines[place] ? `${"AB"[place]}: ${choice.label}, mean ${fixed(100 * mean(lines[place]))}` : `${"AB"[place]}: no curve`,
  );
  const title = `${CURVES[name]}, ${label}`;
  const container = plotIn(figure, `Precision by recall, ${title}. ${areas.join("; ")}.`, [
    `${title}. Mean precision: ${areas.join("; ")}.`,
  ]);
  draw(container, () => ({
    traces: lines.map((line, place) => line && {
      name: `${"AB"[place]}: ${escaped(pair[place].label)}`,
      type: "scatter", mode: "lines", x: recalls, y: line,
      line: { color: colour(SERIES[place]), width: 2.2, dash: place ? "dot" : "solid", shape: "hv" },
      hovertemplate: "%{y:.3f}",
    }).filter(Boolean),
    layout: {
      height: 440, hovermode: "x unified",
      xaxis: { title: { text: "recall" }, range: [0, 1] },
      yaxis: { title: { text: "precision" }, range: [0, 1.01] },
    },
  }));
  showPrecisionTable(view, pair, lines, title);
}

function showPrecisionTable(view, pair, lines, title) {
  const column = (place) => ({
    title: `${"AB"[place]}: ${pair[place].label}`, number: true,
    cell: (step) => fixed(lines[place]?.[step], 3), value: (step) => lines[place]?.[step],
  });
  const recall = { title: "recall", cell: (step) => (step / 100).toFixed(2) };
  const steps = [...Array(21).keys()].map((step) => 5 * step);
  view.querySelector(".numbers > div").replaceChildren(
    makeTable(`Precision, ${title}`, [recall, column(0), column(1)], steps, { filter: false }),
  );
}
