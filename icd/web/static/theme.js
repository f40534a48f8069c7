// Light and dark: as the system says, or as the reader chooses. Figures are drawn again.

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const repaint = new EventTarget(); // "colours" whenever they change

/** The computed colour of a CSS variable. */
function colour(name) {
  const probe = el("span", { style: `color: var(--${name})`, hidden: true });
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function remembered() {
  try {
    return localStorage.getItem("icd-theme") ?? "auto";
  } catch {
    return "auto"; // a browser may forbid storage to files
  }
}

function choose(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("icd-theme", theme);
  } catch {
    // It is then forgotten with the page.
  }
  repaint.dispatchEvent(new Event("colours"));
}

function startTheme() {
  const choices = document.querySelector(".theme");
  choices.hidden = false;
  const theme = remembered();
  const chosen = choices.querySelector(`input[value="${theme}"]`);
  if (chosen) {
    chosen.checked = true;
    choose(theme);
  }
  choices.addEventListener("change", (event) => choose(event.target.value));
  dark.addEventListener("change", () => repaint.dispatchEvent(new Event("colours")));
}
