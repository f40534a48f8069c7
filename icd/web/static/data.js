// The data of the page. They are packed, so that the page stays small.

const unpacked = new Map();

/** A packed text. */
async function unpack(name) {
  const packed = document.getElementById(`packed-${name}`).textContent;
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

/** A part of the data, unpacked once. */
function part(name) {
  if (!unpacked.has(name)) unpacked.set(name, unpack(name).then(JSON.parse));
  return unpacked.get(name);
}

let library;

/** Plotly, started when the first figure is drawn. */
function plotly() {
  library ??= unpack("plotly").then((text) => {
    document.head.append(el("script", {}, text));
    return window.Plotly;
  });
  return library;
}

/** Bytes from base64. */
function bytesOf(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Precisions from 0 to 1: base64 of 16-bit integers, in curves of 101 levels of recall. */
function precisionsOf(text) {
  const bytes = new DataView(bytesOf(text).buffer);
  const values = [];
  for (let place = 0; place < bytes.byteLength; place += 2) {
    values.push(bytes.getUint16(place, true) / 65535);
  }
  const curves = [];
  for (let start = 0; start < values.length; start += 101) {
    curves.push(values.slice(start, start + 101));
  }
  return curves;
}
