// Figures: Plotly with the page's colours, drawn when they are seen first.

const drawn = new Map(); // by container: what draws it again

/** Names of colours, in the order in which runs get them. */
const SERIES = ["series-1", "series-2"];

function baseLayout() {
  const axis = {
    gridcolor: colour("grid"),
    linecolor: colour("rule"),
    zerolinecolor: colour("rule"),
    tickcolor: colour("rule"),
    automargin: true,
    title: { font: { size: 13 } },
  };
  return {
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 8, r: 16, t: 8, b: 8 },
    hoverlabel: {
      bgcolor: colour("raised"),
      bordercolor: colour("rule"),
      font: { color: colour("ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
      align: "left",
    },
    xaxis: { ...axis },
    yaxis: { ...axis },
    legend: { orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom" },
    dragmode: false,
  };
}

/** Lay one plain object over another, deeply. */
function laid(base, over) {
  const made = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const deep = value && typeof value === "object" && !Array.isArray(value);
    made[key] = deep ? laid(base[key] ?? {}, value) : value;
  }
  return made;
}

/**
 * Draw into a container, and again whenever the colours change.
 *
 * make: returns {traces, layout}; it is called each time, so it may use colour().
 */
async function draw(container, make) {
  drawn.set(container, make);
  const library = await plotly();
  const { traces, layout } = make();
  const config = { displayModeBar: false, responsive: true };
  await library.react(container, traces, laid(baseLayout(), layout), config);
  // Plotly measures texts in a drawing beside the window, which nobody should hear of.
  document.getElementById("js-plotly-tester")?.setAttribute("aria-hidden", "true");
}

repaint.addEventListener("colours", () => {
  for (const [container, make] of drawn) {
    if (container.isConnected) draw(container, make);
    else drawn.delete(container);
  }
});

/** A place to draw in, in a figure with a text for those who do not see it. */
function plotIn(figure, description, caption) {
  const container = el("div", { "aria-hidden": "true" });
  const image = el("div", { class: "plot", role: "img", "aria-label": description }, container);
  figure.replaceChildren(image, el("figcaption", {}, caption));
  figure.hidden = false;
  return container;
}
