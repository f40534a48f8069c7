// The images of the page as a row of small pictures, of which one is chosen.

/** Show the images of a split; onchange gets the index of the chosen one. */
function startGallery(place, pictures, onchange) {
  const buttons = pictures.images.map((image, index) => {
    const names = [...new Set(image.objects.map((thing) => pictures.classes[thing[4]]))].join(", ");
    const count = image.objects.length;
    const label = `Image ${image.name}: ${count} ${count === 1 ? "object" : "objects"} (${names})`;
    const small = el("img", { src: image.source, alt: "", loading: "lazy" });
    return el("button", { "aria-label": label, title: label, onclick: () => choose(index) }, small);
  });
  function choose(index) {
    buttons.forEach((button, i) => button.setAttribute("aria-pressed", i === index));
    onchange(index);
  }
  place.replaceChildren(...buttons);
  rove(place, "button");
  choose(0);
}

const pictureElements = new Map();

/** A picture as an image element that has been decoded. */
async function decodedPicture(image) {
  if (!pictureElements.has(image.source)) {
    const element = new Image();
    element.src = image.source;
    pictureElements.set(image.source, element.decode().then(() => element));
  }
  return pictureElements.get(image.source);
}
