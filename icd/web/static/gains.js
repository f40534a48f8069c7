// The gains of a table: a point with its interval for each row.

/** What the pointer shows of a difference. */
function hoverOf(table, row, found, over) {
  const lines = [`<b>${escaped(row.label)}</b>`, `${withInterval(found)} ${table.ap} ${escaped(over)}`];
  lines.push(`p = ${chance(found.p)}${found.inconclusive ? ", inconclusive" : ""}`);
  if (found.values.length > 1) {
    lines.push(`by seed: ${found.values.map((value) => signed(value)).join(", ")}`);
  }
  if (found.detectable != null) {
    lines.push(`detectable in 80 % of such experiments: ${fixed(found.detectable)}`);
  }
  if (!found.images) lines.push("the interval leaves out the sampling of images");
  return lines.join("<br>");
}

/** Plotly reads a few HTML tags in its texts. */
function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** Points with intervals, one for each item: {label, mean, low, high, hover, solid, values, other}. */
function intervalPlot(items, axisTitle) {
  const places = items.map((_, place) => place);
  const error = (bound) => items.map((item) => (item[bound] == null ? 0 : Math.abs(item[bound] - item.mean)));
  const seeds = items.flatMap((item, place) => item.values.map((value) => [value, place - 0.27]));
  const others = items.flatMap((item, place) => (item.other == null ? [] : [[item.other, place + 0.27]]));
  const traces = [
    {
      name: "mean and 95 % interval; hollow: inconclusive",
      type: "scatter", mode: "markers",
      x: items.map((item) => item.mean), y: places,
      error_x: {
        type: "data", symmetric: false, array: error("high"), arrayminus: error("low"),
        color: colour("accent"), thickness: 1.6, width: 4,
      },
      marker: {
        symbol: "square", size: 9, line: { color: colour("accent"), width: 1.6 },
        color: items.map((item) => (item.solid ? colour("accent") : colour("paper"))),
      },
      hovertext: items.map((item) => item.hover), hoverinfo: "text",
    },
  ];
  const points = (name, pairs, marker) => ({
    name, type: "scatter", mode: "markers", marker,
    x: pairs.map(([x]) => x), y: pairs.map(([, y]) => y), hovertemplate: `%{x:+.1f}<extra>${name}</extra>`,
  });
  if (seeds.length > items.length) traces.push(points("one seed", seeds, { size: 4, color: colour("muted") }));
  if (others.length) {
    const marker = { symbol: "diamond-open", size: 8, color: colour("muted") };
    traces.push(points("paper, on COCO", others, marker));
  }
  const layout = {
    height: 30 * items.length + (traces.length > 1 ? 110 : 80),
    margin: { t: traces.length > 1 ? 40 : 8 },
    hovermode: "closest",
    xaxis: { title: { text: axisTitle, standoff: 10 }, zeroline: true, zerolinewidth: 1.5, rangemode: "tozero" },
    yaxis: {
      tickvals: places, ticktext: items.map((item) => escaped(item.label)),
      range: [items.length - 0.4, -0.6], showgrid: false, zeroline: false,
    },
  };
  return { traces, layout };
}

/** The figure of a table; which of its comparisons it shows can be chosen if there are two. */
function startGains(view, table) {
  const figure = view.querySelector("[data-figure=gains]");
  const kinds = [["gain", `gain ${table.over}`], ["difference", `difference ${table.to}`]].filter(
    ([kind]) => table.rows.some((row) => row[kind]),
  );
  if (!kinds.length) return;
  const select = el("select", { onchange: () => show(select.value) });
  fill(select, kinds);
  function show(kind) {
    const [, words] = kinds.find(([name]) => name === kind);
    const items = table.rows.filter((row) => row[kind]).map((row) => ({
      label: row.label,
      ...row[kind],
      solid: !row[kind].inconclusive && row[kind].low != null,
      hover: hoverOf(table, row, row[kind], words.replace(/^\S+ /, "")),
      other: kind === "gain" ? row.published_gain : null,
    }));
    const text = `${table.title}: ${words} in ${table.ap} with 95 % intervals. The table above has the same numbers.`;
    const container = plotIn(figure, text, [
      `${words[0].toUpperCase()}${words.slice(1)}, with 95 % intervals. Rest the pointer on a point for its numbers; the table has them, too.`,
    ]);
    if (kinds.length > 1) figure.prepend(el("p", { class: "options" }, el("label", {}, "Show ", select)));
    draw(container, () => intervalPlot(items, `${words} (${table.ap})`));
  }
  show(kinds[0][0]);
}
