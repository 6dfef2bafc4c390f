"use strict";
// The address follows what is chosen, so that it can be kept and sent; nothing is loaded for it.
window.dash_clientside = Object.assign({}, window.dash_clientside, {
  explorer: {
    address: (values, ids) => {
      const chosen = new URLSearchParams(window.location.search);
      ids.forEach((id) => chosen.delete(id.control));
      ids.forEach((id, place) => {
        const all = Array.isArray(values[place]) ? values[place] : [values[place]];
        all.filter((one) => one !== null && one !== undefined && one !== "").forEach((one) => chosen.append(id.control, one));
      });
      const told = chosen.toString();
      window.history.replaceState(window.history.state, "", window.location.pathname + (told ? "?" + told : ""));
      return told;
    },
    // The study stands in every address: which one is the first of the folder changes when another one runs.
    named: (study) => {
      const chosen = new URLSearchParams(window.location.search);
      if (study && !chosen.has("study")) {
        chosen.set("study", study);
        window.history.replaceState(window.history.state, "", window.location.pathname + "?" + chosen.toString() + window.location.hash);
      }
      return study;
    },
  },
});
const say = (button, text) => {
  const told = document.querySelector(".tools [role=status]");
  if (told) told.textContent = text;
};
const copied = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without leave to use the clipboard the old way still works.
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
};
const work = {
  copy: async (button) => {
    await copied(window.location.href);
    say(button, "The link is copied.");
  },
  save: async (button, format) => {
    const figure = button.closest("figure");
    const graph = figure.querySelector(".js-plotly-plot");
    const name = "prognobench-" + figure.dataset.name.replace(/[^\w.-]+/g, "-").slice(0, 80);
    const { width, height } = graph.getBoundingClientRect();
    await window.Plotly.downloadImage(graph, { format, filename: name, width: Math.round(Math.max(width, 700)), height: Math.round(height), scale: format === "png" ? 2 : 1 });
  },
};
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-do]");
  if (!button) return;
  const what = button.dataset.do;
  if (what === "copy") work.copy(button);
  else work.save(button, what);
});
// On a narrow screen the numbers come first: what can be chosen is folded until it is asked for.
const narrow = window.matchMedia("(max-width: 59.99rem)");
new MutationObserver(() => {
  document.querySelectorAll("aside > details:not([data-met])").forEach((panel) => {
    panel.dataset.met = "yes";
    if (narrow.matches) panel.open = false;
  });
}).observe(document.documentElement, { childList: true, subtree: true });
// Dash puts new elements in the place of old ones when a record lands: what was open, sorted, scrolled and in focus
// stays so.
const kept = { open: new Set(), sorted: new Map(), scrolled: new Map(), focus: "", path: "" };
const within = (one) => one instanceof Element && one.closest("#content");
const nameOf = (one) => [one.tagName, one.getAttribute("href") || "", one.textContent.slice(0, 80)].join("|");
document.addEventListener("toggle", (event) => {
  const summary = within(event.target) && event.target.querySelector("summary");
  if (summary) kept.open[event.target.open ? "add" : "delete"](summary.textContent);
}, true);
document.addEventListener("scroll", (event) => {
  if (within(event.target) && event.target.matches(".scroll")) {
    kept.scrolled.set(event.target.getAttribute("aria-label"), event.target.scrollLeft);
  }
}, true);
document.addEventListener("focusin", (event) => { kept.focus = within(event.target) ? nameOf(event.target) : ""; });
document.addEventListener("click", (event) => {
  const heading = within(event.target) && event.target.closest("th");
  if (heading && event.target.closest("button")) {
    // Afterwards, as the report's own script sorts when it hears of the same press.
    setTimeout(() => kept.sorted.set(heading.closest("table").getAttribute("aria-label"), [heading.cellIndex, heading.getAttribute("aria-sort") === "descending"]));
  }
});
new MutationObserver((changes) => {
  const added = changes.some((one) => Array.from(one.addedNodes).some((node) => node instanceof HTMLElement &&
    !node.closest(".dash-graph") && (node.closest("#content") || node.querySelector("#content"))));
  if (!added) return;
  if (kept.path !== window.location.pathname) {
    Object.assign(kept, { open: new Set(), sorted: new Map(), scrolled: new Map(), focus: "", path: window.location.pathname });
    return;
  }
  document.querySelectorAll("#content details").forEach((one) => {
    if (kept.open.has(one.querySelector("summary").textContent)) one.open = true;
  });
  document.querySelectorAll("#content table").forEach((table) => {
    const [place, down] = kept.sorted.get(table.getAttribute("aria-label")) || [];
    const heading = place === undefined ? null : table.tHead.rows[0].cells[place];
    if (heading && heading.getAttribute("aria-sort") === "none") sortBy(heading, down);
  });
  document.querySelectorAll("#content .scroll").forEach((box) => {
    const left = kept.scrolled.get(box.getAttribute("aria-label"));
    if (left && box.scrollLeft !== left) box.scrollLeft = left;
  });
  if (kept.focus && document.activeElement === document.body) {
    const again = Array.from(document.querySelectorAll("#content a, #content button, #content summary")).find((one) => nameOf(one) === kept.focus);
    if (again) again.focus({ preventScroll: true });
  }
}).observe(document.documentElement, { childList: true, subtree: true });
// The report's script met no table when it was read; those that come later are told to it.
new MutationObserver(() => {
  document.querySelectorAll("#content .scroll:not([data-met])").forEach((box) => {
    box.dataset.met = "yes";
    sizes.observe(box);
    box.addEventListener("scroll", () => tell(box), { passive: true });
  });
}).observe(document.documentElement, { childList: true, subtree: true });
