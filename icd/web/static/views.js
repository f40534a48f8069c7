// One view at a time, chosen by the address; find-in-page still searches all.

const STARTS = {
  curves: startCurves,
  precision: startPrecision,
  attention: startAttention,
  detections: startDetections,
  runs: startRuns,
};
const started = new Set();

function views() {
  return [...document.querySelectorAll("main > .view")];
}

/** Fill a view when it is shown first. */
function startView(view) {
  if (started.has(view.id)) return;
  started.add(view.id);
  const table = core.tables.find((one) => one.name === view.dataset.table);
  if (table) {
    startGains(view, table);
    startParts(view, table);
  } else if (STARTS[view.id] && !view.querySelector(":scope > .notice")) {
    STARTS[view.id](view, core);
  }
}

/** Show the view that the address names; other addresses are places in the view that is shown. */
function showView(focus) {
  const wanted = decodeURIComponent(location.hash.slice(1));
  const all = views();
  const view = all.find((one) => one.id === wanted) ?? (focus ? null : all[0]);
  if (!view) return;
  all.forEach((one) => {
    if (one === view) {
      one.removeAttribute("hidden");
      one.removeAttribute("aria-hidden");
    } else {
      one.setAttribute("hidden", "until-found");
      one.setAttribute("aria-hidden", "true"); // else a region without a name remains
    }
  });
  document.querySelectorAll(".contents a").forEach((link) => {
    if (link.hash === `#${view.id}`) {
      link.setAttribute("aria-current", "page");
      reveal(link, link.closest("nav"));
    } else link.removeAttribute("aria-current");
  });
  document.title = `${view.querySelector("h1").textContent} – ${core.track}`;
  startView(view);
  if (focus) view.querySelector("h1").focus({ preventScroll: true });
  window.scrollTo({ top: 0, behavior: "instant" });
}

/** Scroll a list of links, and nothing else, so that a link is in sight. */
function reveal(link, list) {
  const [inner, outer] = [link, list].map((one) => one.getBoundingClientRect());
  const left = inner.left - outer.left - (outer.width - inner.width) / 2;
  const above = inner.top < outer.top ? inner.top - outer.top : 0;
  const below = inner.bottom > outer.bottom ? inner.bottom - outer.bottom : 0;
  list.scrollBy({ left, top: above + below, behavior: "instant" });
}

function startViews() {
  window.addEventListener("hashchange", () => showView(true));
  for (const view of views()) {
    view.addEventListener("beforematch", () => (location.hash = view.id));
  }
  showView(false);
}
