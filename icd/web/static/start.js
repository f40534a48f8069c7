// Start the page.

core = await part("core");
startTheme();
for (const table of document.querySelectorAll("table.sortable")) enhance(table);
for (const view of document.querySelectorAll("[data-table]")) {
  const table = core.tables.find((one) => one.name === view.dataset.table);
  const body = view.querySelector("table.results tbody");
  body.addEventListener("click", (event) => {
    const button = event.target.closest("button.value");
    if (!button) return;
    const row = table.rows.find((one) => one.id === button.closest("tr").dataset.row);
    openNumber(table, row, button.dataset.key);
  });
  rove(body, "button.value");
}
startViews();
document.documentElement.dataset.ready = "";
