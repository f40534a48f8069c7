// Detections of two runs in one image, with a verdict on each.

// Name, mark and what it means; the colours are in images.css.
const VERDICTS = {
  right: ["right", "✓", "finds an object that no better detection finds"],
  class: ["wrong class", "C", "right place, wrong class"],
  place: ["badly localised", "L", "right class, IoU from 0.1 to 0.5"],
  both: ["class and place", "B", "wrong class, IoU from 0.1 to 0.5"],
  duplicate: ["duplicate", "D", "a better detection finds its object"],
  background: ["background", "G", "no object there, IoU below 0.1"],
};
const MISSED = ["missed", "M", "neither found nor meant by a detection of wrong class or place"];
const EXPLAINS = ["right", "class", "place"]; // verdicts after which an object is not missed

async function startDetections(view, core) {
  const found = await part("detections");
  const images = await part("images");
  const of = (choice) => found.runs[choice.run][choice.table.split][choice.table.iou_type];
  const all = choices(core, (run, table) => table && found.runs[run]?.[table.split]?.[table.iou_type]);
  if (!all.length) return;
  const score = view.querySelector("[name=score]");
  const state = { image: 0, shown: new Set([...Object.keys(VERDICTS), "missed"]), kinds: found.kinds };
  const show = () => {
    score.nextElementSibling.textContent = `${score.value} %`;
    state.score = score.value / 100;
    showDetections(view, state);
  };
  score.min = Math.ceil(100 * found.least);
  score.addEventListener("input", show);
  kindChoices(view.querySelector(".kinds"), state, show);
  pickTwo(view.querySelector(".pickers"), all, (pair) => {
    const [split, other] = pair.map((choice) => choice.table.split);
    if (other !== split) return showNothing(view, `Run A was evaluated on the split ${split}, run B on ${other}: no image is in both.`);
    state.pair = pair;
    state.found = pair.map(of);
    if (state.split !== split) {
      state.split = split;
      state.pictures = images[split];
      startGallery(view.querySelector(".gallery"), images[split], (index) => {
        state.image = index;
        show();
      });
    } else show();
  });
}

function showNothing(view, why) {
  view.querySelector("[data-panels]").replaceChildren(el("p", { class: "notice", role: "status" }, why));
  view.querySelector(".totals").replaceChildren();
}

function kindChoices(place, state, show) {
  for (const [kind, [name, mark, meaning]] of [...Object.entries(VERDICTS), ["missed", MISSED]]) {
    const box = el("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      state.shown[box.checked ? "add" : "delete"](kind);
      show();
    });
    place.append(el("label", { title: meaning }, box, el("span", { class: `key ${kind}`, "aria-hidden": "true" }, mark), name));
  }
}

/** The detections of an image from the threshold on, and the state of each of its objects. */
function judged(state, entries, image) {
  const guesses = entries
    .map(([x, y, w, h, score, label, kind, target, overlap]) => ({
      box: [x, y, w, h], score, label, kind: state.kinds[kind], target, overlap,
    }))
    .filter((guess) => guess.score >= state.score);
  const explained = new Set(guesses.filter((guess) => EXPLAINS.includes(guess.kind)).map((guess) => guess.target));
  const missed = image.objects.map((_, index) => index).filter((index) => !explained.has(index));
  return { guesses, missed };
}

function showDetections(view, state) {
  const image = state.pictures.images[state.image];
  const panels = state.pair.map((choice, place) => {
    const found = judged(state, state.found[place][state.image], image);
    return detectionPanel(state, image, choice, place, found);
  });
  view.querySelector("[data-panels]").replaceChildren(...panels);
  showTotals(view.querySelector(".totals"), state);
}

function detectionPanel(state, image, choice, place, found) {
  const { classes } = state.pictures;
  const title = `${"AB"[place]}: ${choice.label}`;
  const count = (kind) => found.guesses.filter((guess) => guess.kind === kind).length;
  const words = [...Object.entries(VERDICTS).map(([kind, [name]]) => `${count(kind)} ${name}`), `${found.missed.length} missed`];
  const size = Math.max(image.width, image.height);
  const drawing = svg("svg", {
    viewBox: `0 0 ${image.width} ${image.height}`, role: "img", class: "detections",
    "aria-label": `Image ${image.name} with the detections of ${title}: ${words.join(", ")}. The table below lists them.`,
  }, svg("image", { href: image.source, width: image.width, height: image.height, preserveAspectRatio: "none" }));
  const rows = [];
  if (state.shown.has("missed")) {
    for (const index of found.missed) {
      const thing = image.objects[index];
      const mark = boxOf(thing, "missed", `missed: ${classes[thing[4]]}`, "M", size);
      drawing.append(mark);
      rows.push({ kind: "missed", name: classes[thing[4]], score: null, overlap: null, mark });
    }
  }
  const shown = found.guesses.filter((guess) => state.shown.has(guess.kind));
  [...shown].reverse().forEach((guess) => {
    const [name, letter] = VERDICTS[guess.kind];
    const text = `${name}: ${classes[guess.label]}, score ${percent(guess.score)}, IoU ${fixed(guess.overlap, 2)}`;
    const mark = boxOf(guess.box, guess.kind, text, letter, size);
    drawing.append(mark);
    rows.push({ kind: guess.kind, name: classes[guess.label], score: guess.score, overlap: guess.overlap, mark });
  });
  rows.sort((one, two) => (two.score ?? -1) - (one.score ?? -1));
  return el("section", { class: "panel" },
    el("h2", {}, el("span", { class: `mark ${SERIES[place]}`, "aria-hidden": "true" }), title),
    el("figure", {}, drawing, el("figcaption", {}, words.join(", "))),
    detectionTable(title, rows),
  );
}

/** A box with a halo, its mark and a title. */
function boxOf([x, y, width, height], kind, text, letter, size) {
  const corners = { x, y, width, height, "vector-effect": "non-scaling-stroke" };
  const high = size / 24;
  return svg("g", { class: `box ${kind}` },
    svg("title", {}, text),
    svg("rect", { ...corners, class: "halo" }),
    svg("rect", { ...corners, class: "line" }),
    svg("g", { transform: `translate(${x} ${Math.max(y - high, 0)})` },
      svg("rect", { width: high, height: high, class: "plate" }),
      svg("text", { x: high / 2, y: high * 0.78, "font-size": high * 0.8, "text-anchor": "middle" }, letter),
    ),
  );
}

function detectionTable(title, rows) {
  const verdict = (row) => {
    const [name, letter] = row.kind === "missed" ? MISSED : VERDICTS[row.kind];
    return [el("span", { class: `key ${row.kind}`, "aria-hidden": "true" }, letter), name];
  };
  const columns = [
    { title: "class", cell: (row) => row.name },
    { title: "verdict", cell: verdict },
    { title: "score", number: true, cell: (row) => (row.score == null ? "–" : percent(row.score)), value: (row) => row.score },
    { title: "IoU", number: true, cell: (row) => fixed(row.overlap, 2), value: (row) => row.overlap },
  ];
  const made = makeTable(`Detections of ${title}`, columns, rows, { filter: false, unseen: true, class: "text" });
  [...made.querySelectorAll("tbody tr")].forEach((line, place) => {
    const { mark } = rows[place];
    for (const [on, type] of [[true, "pointerenter"], [false, "pointerleave"]]) {
      line.addEventListener(type, () => mark.classList.toggle("pointed", on));
    }
  });
  return made;
}

/** How often each verdict is given in all images of the page. */
function showTotals(place, state) {
  const totals = state.found.map((run) => {
    const counts = Object.fromEntries([...Object.keys(VERDICTS), "missed"].map((kind) => [kind, 0]));
    run.forEach((entries, index) => {
      const { guesses, missed } = judged(state, entries, state.pictures.images[index]);
      guesses.forEach((guess) => (counts[guess.kind] += 1));
      counts.missed += missed.length;
    });
    return counts;
  });
  const kinds = [...Object.entries(VERDICTS), ["missed", MISSED]];
  const columns = [
    { title: "verdict", cell: ([kind, [name, letter]]) => [el("span", { class: `key ${kind}`, "aria-hidden": "true" }, letter), name] },
    ...state.pair.map((choice, i) => ({
      title: `${"AB"[i]}: ${choice.label}`, number: true,
      cell: ([kind]) => totals[i][kind], value: ([kind]) => totals[i][kind],
    })),
    { title: "meaning", cell: ([, [, , meaning]]) => meaning },
  ];
  const caption = `In all ${state.pictures.images.length} images, scores from ${percent(state.score)}`;
  place.replaceChildren(makeTable(caption, columns, kinds, { filter: false, class: "text" }));
}
