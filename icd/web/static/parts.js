// The gains of a row by class and by object size.

function startParts(view, table) {
  const section = view.querySelector("[data-figure=parts]");
  if (!section) return;
  const kinds = ["size", "class"].filter((kind) => table.parts[kind]);
  const rows = table.rows.filter((row) =>
    kinds.some((kind) => table.parts[kind][row.id]?.some((one) => one.gain != null)),
  );
  if (!rows.length) return;
  section.hidden = false;
  const row = el("select", { onchange: () => show() });
  const order = el("select", { onchange: () => show() });
  fill(row, rows.map((one) => [one.id, one.label]));
  fill(order, [["gain", "largest gain first"], ["file", "as in the annotations"]]);
  row.value = rows.at(-1).id;
  const places = Object.fromEntries(kinds.map((kind) => [kind, el("div", { class: "part" })]));
  section.append(
    el("div", { class: "options" }, el("label", {}, "Row ", row), el("label", {}, "Order of classes ", order)),
    ...Object.values(places),
  );
  function show() {
    for (const kind of kinds) {
      const items = [...(table.parts[kind][row.value] ?? [])].filter((one) => one.gain != null);
      if (kind === "class" && order.value === "gain") items.sort((one, two) => two.gain - one.gain);
      showParts(places[kind], table, rows.find((one) => one.id === row.value), kind, items);
    }
  }
  show();
}

function showParts(place, table, row, kind, items) {
  const title = `${row.label}: gains ${table.over} by ${kind}`;
  const figure = el("figure", { class: "gains" });
  const columns = [
    { title: kind, cell: (one) => one.name },
    { title: table.ap, number: true, cell: (one) => fixed(one.AP), value: (one) => one.AP },
    { title: "gain [95 %]", number: true, cell: (one) => withInterval(one), value: (one) => one.gain },
    { title: "p", number: true, cell: (one) => chance(one.p), value: (one) => one.p },
    { title: "significant", cell: (one) => (one.significant ? "yes" : "no") },
  ];
  const numbers = el("details", { class: "numbers" }, el("summary", {}, "The numbers as a table"),
    makeTable(title, columns, items, { unseen: true }));
  place.replaceChildren(figure, numbers);
  const container = plotIn(figure, `${title}. The table below has the same numbers.`, [
    `${title}. Filled: significant with Holm's correction over ${kind === "class" ? "classes" : "sizes"}.`,
  ]);
  const points = items.map((one) => ({
    label: one.name, mean: one.gain, low: one.low, high: one.high, values: [], solid: one.significant,
    hover: `<b>${escaped(one.name)}</b><br>${table.ap} ${fixed(one.AP)}, ${withInterval(one)}<br>p = ${chance(one.p)}`,
  }));
  draw(container, () => intervalPlot(points, `gain in ${table.ap} ${table.over}`));
}
