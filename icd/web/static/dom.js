// Building elements.

/** An element with attributes, listeners (keys that start with "on") and children. */
function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "class") made.className = value;
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null));
  return made;
}

/** The same for SVG. */
function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value != null) made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child != null));
  return made;
}

/** Options of a select, as pairs of value and text. */
function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
}

/** The same; what is chosen stays chosen if it is still there. */
function refill(select, options) {
  const before = select.value;
  fill(select, options);
  if (options.some(([value]) => value === before)) select.value = before;
}

let ids = 0;

/** An id that no other element has. */
function freshId(prefix) {
  ids += 1;
  return `${prefix}-${ids}`;
}
