// The attention of a decoder, by image, object, layer and head.

const INK = [115, 0, 26]; // dark, so that more of it is darker in grey, too
const PALE = 0.62; // how much of an image's contrast is taken away below a map
const OPAQUE = 225; // of 255: the image stays visible below full ink
const FULL = 0.99; // quantile of a layer's values from which the ink is full

async function startAttention(view, core) {
  const found = await part("attention");
  const pictures = (await part("images"))[found.split];
  const state = { found, pictures, image: 0, object: 0, layer: 1, head: 0 };
  const [object, layer, head] = ["object", "layer", "head"].map((name) => view.querySelector(`[name=${name}]`));
  layer.max = found.layers;
  head.max = found.heads;
  layer.value = state.layer = found.layers;
  head.value = 0;
  view.querySelector(".run").replaceChildren(...aboutRun(core, found.run));
  const show = () => showAttention(view, state);
  object.addEventListener("change", () => { state.object = Number(object.value); show(); });
  layer.addEventListener("input", () => { state.layer = Number(layer.value); show(); });
  head.addEventListener("input", () => { state.head = Number(head.value); show(); });
  startGallery(view.querySelector(".gallery"), pictures, (index) => {
    state.image = index;
    state.object = 0;
    const objects = found.images[index].objects;
    fill(object, objects.map((one, place) => [place, objectName(state, one, place)]));
    show();
  });
  repaint.addEventListener("colours", show);
}

function aboutRun(core, run) {
  const row = core.tables.flatMap((table) => table.rows.map((one) => [table, one]))
    .find(([, one]) => one.runs.some((mine) => mine.run === run));
  const words = row ? `${row[1].label} (${row[0].title}): ` : "";
  return ["Run: ", words, el("button", { class: "about", onclick: () => openRun(run) }, run)];
}

function objectName(state, one, place) {
  if (!one.box) return "all objects";
  return `${place + 1}: ${state.pictures.classes[one.label]}`;
}

/** The map of a head, 0 for the mean of all: values from 0 to 1, row by row. */
function mapOf(state, one, layer, head) {
  const { rows, columns } = state.found.images[state.image];
  const cells = rows * columns;
  const { heads } = state.found;
  one.bytes ??= bytesOf(one.maps);
  const values = new Float32Array(cells);
  const chosen = head ? [head - 1] : [...Array(heads).keys()];
  for (const place of chosen) {
    const start = ((layer - 1) * heads + place) * cells;
    for (let i = 0; i < cells; i += 1) {
      values[i] += (one.bytes[start + i] / 255) ** 2 / chosen.length;
    }
  }
  return values;
}

/** The value from which the ink is full: the same for all heads of a layer. */
function topOf(state, one, layer) {
  const all = [...Array(state.found.heads).keys()].flatMap((head) => [...mapOf(state, one, layer, head + 1)]);
  all.sort((a, b) => a - b);
  return Math.max(all[Math.floor(FULL * (all.length - 1))], 1e-9);
}

async function showAttention(view, state) {
  const { found } = state;
  const entry = found.images[state.image];
  const image = state.pictures.images[state.image];
  const one = entry.objects[state.object];
  const picture = await decodedPicture(image);
  const top = topOf(state, one, state.layer);
  const paint = (canvas, head, width) =>
    paintMap(canvas, picture, image, entry, one, mapOf(state, one, state.layer, head), top, width);
  const canvas = view.querySelector(".map canvas");
  const name = objectName(state, one, state.object);
  const sentence = sentenceOf(state, entry, one);
  paint(canvas, state.head, 640);
  canvas.setAttribute("aria-label", `Image ${image.name} with the attention for ${name}. ${sentence}`);
  view.querySelector(".map figcaption").textContent = `Image ${image.name}, ${name}`;
  view.querySelector(".sentence").textContent = sentence;
  view.querySelector("[name=layer]").nextElementSibling.textContent = `${state.layer} of ${found.layers}`;
  view.querySelector("[name=head]").nextElementSibling.textContent = headName(state.head, found.heads);
  showHeads(view, state, paint);
  showHeadTable(view, state, one);
}

function headName(head, heads) {
  return head ? `${head} of ${heads}` : `mean of ${heads}`;
}

function sentenceOf(state, entry, one) {
  const inside = numberOf(one.inside, state);
  const effective = numberOf(one.effective, state);
  const area = one.box ? one.box[2] * one.box[3] : entry.area;
  const where = one.box ? "its box" : "annotated boxes";
  const head = state.head ? `Head ${state.head}` : "The mean head";
  return `${head} of layer ${state.layer}: ${percent(inside)} of the attention is in ${where}, which ${one.box ? "covers" : "cover"} ${percent(area)} of the image. ${percent(effective)} of the tokens are effective.`;
}

function numberOf(table, state) {
  const layer = table[state.layer - 1];
  return state.head ? layer[state.head - 1] : mean(layer);
}

function showHeads(view, state, paint) {
  const place = view.querySelector(".heads");
  const slider = view.querySelector("[name=head]");
  if (place.children.length !== state.found.heads) {
    const buttons = [...Array(state.found.heads).keys()].map((head) => {
      const pick = () => {
        slider.value = head + 1;
        slider.dispatchEvent(new Event("input"));
      };
      return el("button", { onclick: pick, "aria-label": `Head ${head + 1}` }, el("canvas"));
    });
    place.replaceChildren(...buttons);
    rove(place, "button");
  }
  [...place.children].forEach((button, head) => {
    button.setAttribute("aria-pressed", head + 1 === state.head);
    paint(button.firstChild, head + 1, 128);
  });
}

function showHeadTable(view, state, one) {
  const heads = [...Array(state.found.heads).keys()];
  const value = (table, head) => table[state.layer - 1][head];
  const columns = [
    { title: "head", cell: (head) => head + 1 },
    { title: "in the box", number: true, cell: (head) => percent(value(one.inside, head)), value: (head) => value(one.inside, head) },
    { title: "effective tokens", number: true, cell: (head) => percent(value(one.effective, head)), value: (head) => value(one.effective, head) },
  ];
  view.querySelector(".numbers > div").replaceChildren(
    makeTable(`Attention of layer ${state.layer}`, columns, heads, { filter: false, unseen: true }),
  );
}

/** An image in pale grey under ink, with the boxes that count. */
function paintMap(canvas, picture, image, entry, one, values, top, width) {
  const height = Math.round((width * image.height) / image.width);
  Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.filter = "grayscale(1)";
  pen.drawImage(picture, 0, 0, width, height);
  pen.filter = "none";
  pen.fillStyle = `rgba(255, 255, 255, ${PALE})`;
  pen.fillRect(0, 0, width, height);
  const ink = new ImageData(entry.columns, entry.rows);
  values.forEach((value, i) => {
    ink.data.set([...INK, Math.round(OPAQUE * Math.min(value / top, 1))], 4 * i);
  });
  const small = el("canvas", { width: entry.columns, height: entry.rows });
  small.getContext("2d").putImageData(ink, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, width * entry.extent[0], height * entry.extent[1]);
  const boxes = one.box ? [one.box] : entry.objects.filter((other) => other.box).map((other) => other.box);
  for (const [x, y, w, h] of boxes) {
    for (const [style, thick] of [["black", 0.008], ["white", 0.0035]]) {
      pen.strokeStyle = style;
      pen.lineWidth = Math.max(thick * width, 1);
      pen.strokeRect(x * width, y * height, w * width, h * height);
    }
  }
}
