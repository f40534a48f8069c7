// Tables that can be sorted by their columns and filtered by their text.

/** Give each heading a button that sorts, and the table a filter above it. */
function enhance(table, { filter = table.tBodies[0].rows.length > 4 } = {}) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const label = [...heading.childNodes];
    const button = el("button", { class: "sort", onclick: () => sortBy(table, column) }, label);
    heading.append(button);
  });
  if (filter) (table.closest(".scroller") ?? table).before(filterOf(table));
}

/** Sort by a column: first its best order, then the reverse, then that of the page. */
function sortBy(table, column) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  rows.forEach((row, place) => (row.dataset.place ??= place));
  const headings = [...table.tHead.rows[0].cells];
  const heading = headings[column];
  const first = heading.classList.contains("number") ? "descending" : "ascending";
  const second = first === "descending" ? "ascending" : "descending";
  const order = { [first]: second, [second]: null }[heading.getAttribute("aria-sort")];
  const next = order === undefined ? first : order;
  headings.forEach((other) => other.removeAttribute("aria-sort"));
  if (next) heading.setAttribute("aria-sort", next);
  const sign = next === "descending" ? -1 : 1;
  rows.sort((one, two) =>
    next ? compare(one.cells[column], two.cells[column], sign) : one.dataset.place - two.dataset.place,
  );
  body.append(...rows);
}

/** Cells without a value come last in either direction. */
function compare(one, two, sign) {
  const [a, b] = [one, two].map((cell) => cell.dataset.value);
  if (a !== undefined && b !== undefined) return sign * (a - b);
  if (a !== undefined || b !== undefined) return a !== undefined ? -1 : 1;
  return sign * one.textContent.localeCompare(two.textContent, "en", { numeric: true });
}

/** A field that hides the rows that lack one of its words. */
function filterOf(table) {
  const count = el("output", { class: "count" });
  const field = el("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies[0].rows];
    rows.forEach((row) => {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    });
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  });
  return el("div", { class: "filter" }, el("label", {}, "Filter rows ", field), count);
}

/**
 * A table from data.
 *
 * columns: {title, number, cell(item) -> text or node, value(item) -> number}; the first is a heading.
 */
function makeTable(caption, columns, items, options = {}) {
  const heading = (column) =>
    el("th", { scope: "col", class: column.number ? "number" : "" }, column.title);
  const cell = (column, place, item) => {
    const content = column.cell(item);
    if (place === 0) return el("th", { scope: "row" }, content);
    const value = column.value?.(item);
    const made = el("td", { class: column.number ? "number" : "" }, content);
    if (value != null) made.dataset.value = value;
    return made;
  };
  const rows = items.map((item) =>
    el("tr", {}, columns.map((column, place) => cell(column, place, item))),
  );
  const id = freshId("caption");
  const table = el("table", { class: `data ${options.class ?? ""}` },
    el("caption", { id, class: options.unseen ? "unseen" : "" }, caption),
    el("thead", {}, el("tr", {}, columns.map(heading))),
    el("tbody", {}, rows),
  );
  const region = { class: "scroller", role: "region", "aria-labelledby": id, tabindex: "0" };
  const made = el("div", {}, el("div", region, table));
  if (options.sortable !== false) enhance(table, options);
  return made;
}
