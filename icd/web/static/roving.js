// One stop of the Tab key for many buttons; arrow keys move between them.

/** Buttons in a row: left and right. */
function rove(container, selector) {
  const all = () => [...container.querySelectorAll(selector)];
  const reset = () => {
    const buttons = all();
    const current = buttons.find((button) => button.tabIndex === 0) ?? buttons[0];
    buttons.forEach((button) => (button.tabIndex = button === current ? 0 : -1));
  };
  reset();
  container.addEventListener("focusin", (event) => {
    const target = event.target.closest(selector);
    if (target) all().forEach((button) => (button.tabIndex = button === target ? 0 : -1));
  });
  container.addEventListener("keydown", (event) => {
    const from = event.target.closest(selector);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!from || !step || event.ctrlKey || event.altKey || event.metaKey) return;
    const to = neighbour(from, event.key, step, all());
    if (to) {
      event.preventDefault();
      to.focus();
    }
  });
}

/** The button that an arrow key leads to: in a table the nearest in the row or the column. */
function neighbour(from, key, step, buttons) {
  const cell = from.closest("td");
  if (!cell || key === "ArrowRight" || key === "ArrowLeft") {
    const visible = buttons.filter((button) => button.offsetParent);
    return visible[visible.indexOf(from) + step];
  }
  let row = cell.parentElement;
  do {
    row = step > 0 ? row.nextElementSibling : row.previousElementSibling;
    const button = row?.hidden ? null : row?.cells[cell.cellIndex]?.querySelector("button");
    if (button) return button;
  } while (row);
  return null;
}
