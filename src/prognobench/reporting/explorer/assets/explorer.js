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
