// Numbers and dates as text, as in the Markdown tables.

/** With a sign and so many decimals. */
function signed(value, decimals = 1) {
  if (value == null) return "–";
  return (value < 0 ? "-" : "+") + Math.abs(value).toFixed(decimals);
}

function fixed(value, decimals = 1) {
  return value == null ? "–" : value.toFixed(decimals);
}

/** A difference with its interval. */
function withInterval(found, decimals = 1) {
  if (!found) return "–";
  const text = signed(found.mean ?? found.gain, decimals);
  if (found.low == null) return text;
  return `${text} [${signed(found.low, decimals)}, ${signed(found.high, decimals)}]`;
}

/** A p-value. */
function chance(p) {
  if (p == null) return "–";
  return p < 0.001 ? "< 0.001" : p.toFixed(3);
}

function percent(share) {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
}

/** Seconds as hours, minutes or seconds. */
function duration(seconds) {
  if (seconds == null) return "–";
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

/** An ISO time to the minute. */
function moment(time) {
  return time ? time.slice(0, 16).replace("T", " ") + " UTC" : "–";
}

/** A number with four significant digits. */
function digits(value) {
  return value == null ? "–" : String(Number(value.toPrecision(4)));
}

function seedText(seed) {
  return seed == null ? "" : `seed ${seed}`;
}
