// Training curves of two runs: a small figure for each quantity, one group of them at a time.

const QUANTITIES = {
  loss: "Loss, all terms",
  loss_cls: "Classification loss",
  loss_bbox: "Box loss",
  loss_identification: "Identification loss",
  loss_localisation: "Localisation loss",
  loss_distillation: "Distillation loss",
  lr: "Learning rate",
  grad_norm: "Norm of the gradient",
  "method.lr": "Learning rate of the method",
  "method.grad_norm": "Norm of the method's gradient",
  boxes: "Share of tokens in boxes",
  tokens: "Tokens",
  recognised: "Real instances recognised",
  mistaken: "Fake instances mistaken for real",
  iou: "IoU of predicted boxes",
  effective_tokens: "Effective tokens",
  effective: "Effective tokens, share",
  largest: "Largest share of a token",
  inside: "Attention in boxes, share",
  rank: "Effective rank of values",
};
const TRAINING = "AP, losses and optimisation";
const FEATURES = "Magnitude of features";

/** The group of a quantity and its name there. */
function placeOf(name) {
  const [, layer, rest] = name.match(/^diagnosis\/(?:layer(\d+)\/)?(.+)$/) ?? [];
  if (rest) return [layer ? `Decoder, layer ${layer}` : FEATURES, rest];
  return [TRAINING, name];
}

function quantityTitle(name) {
  const [group, own] = placeOf(name);
  if (QUANTITIES[own]) return QUANTITIES[own];
  const stride = own.match(/^(?:rms\/(\w+)\/)?stride(\d+)$/);
  if (!stride) return own.replaceAll("/", ", ").replaceAll("_", " ");
  return group === FEATURES ? `RMS at stride ${stride[2]}, ${stride[1]}` : `Attention at stride ${stride[2]}, share`;
}

/** AP first, then losses, then the rest. */
function quantityRank(name) {
  const places = [/^AP/, /^loss$/, /^loss/, /lr$/, /grad_norm$/];
  const place = places.findIndex((pattern) => pattern.test(name));
  return place < 0 ? places.length : place;
}

async function startCurves(view, core) {
  const curves = await part("curves");
  const all = choices(core, (run) => run in curves);
  if (!all.length) return;
  const [group, logarithmic] = ["group", "logarithmic"].map((name) => view.querySelector(`[name=${name}]`));
  let pair;
  const show = () => {
    const names = quantitiesOf(curves, pair).filter((name) => placeOf(name)[0] === group.value);
    showCurves(view, curves, pair, names, logarithmic.checked);
    showCurveTable(view, curves, pair, names);
  };
  logarithmic.addEventListener("change", show);
  group.addEventListener("change", show);
  pickTwo(view.querySelector(".pickers"), all, (chosen) => {
    pair = chosen;
    const groups = new Set(quantitiesOf(curves, pair).map((name) => placeOf(name)[0]));
    refill(group, [...groups].map((name) => [name, name]));
    show();
  });
}

function quantitiesOf(curves, pair) {
  const names = new Set(pair.flatMap((choice) => Object.keys(curves[choice.run])));
  return [...names].sort((one, two) => quantityRank(one) - quantityRank(two) || one.localeCompare(two, "en", { numeric: true }));
}

function showCurves(view, curves, pair, names, logarithmic) {
  const figures = names.map((name) => {
    const figure = el("figure", { class: "small" });
    const title = quantityTitle(name);
    const container = plotIn(figure, `${title} by iteration. The table below has the numbers.`, [title]);
    const make = () => ({
      traces: pair.map((choice, place) => lineOf(curves[choice.run][name], choice, place)).filter(Boolean),
      layout: {
        height: 190,
        showlegend: false,
        hovermode: "x unified",
        xaxis: { rangemode: "tozero", nticks: 5 },
        yaxis: { type: logarithmic ? "log" : "linear", rangemode: "tozero", nticks: 5, exponentformat: "power" },
      },
    });
    return [figure, () => draw(container, make)];
  });
  view.querySelector(".multiples").replaceChildren(...figures.map(([figure]) => figure));
  figures.forEach(([, start]) => start());
}

function lineOf(curve, choice, place) {
  if (!curve) return null;
  const few = curve.values.length < 13;
  return {
    name: `${"AB"[place]}: ${escaped(choice.label)}`,
    type: "scatter", mode: few ? "lines+markers" : "lines",
    x: curve.iterations, y: curve.values,
    line: { color: colour(SERIES[place]), width: 2, dash: place ? "dot" : "solid" },
    marker: { size: 5 },
  };
}

function showCurveTable(view, curves, pair, names) {
  const lines = [];
  for (const [place, choice] of pair.entries()) {
    for (const name of names.filter((one) => curves[choice.run][one])) {
      const { iterations, values } = curves[choice.run][name];
      iterations.forEach((iteration, i) =>
        lines.push({ run: `${"AB"[place]}: ${choice.label}`, name: quantityTitle(name), iteration, value: values[i] }),
      );
    }
  }
  const columns = [
    { title: "run", cell: (line) => line.run },
    { title: "quantity", cell: (line) => line.name },
    { title: "iteration", number: true, cell: (line) => line.iteration, value: (line) => line.iteration },
    { title: "value", number: true, cell: (line) => digits(line.value), value: (line) => line.value },
  ];
  const place = view.querySelector(".numbers > div");
  place.replaceChildren(makeTable("Training curves of both runs", columns, lines, { unseen: true, class: "text" }));
}
