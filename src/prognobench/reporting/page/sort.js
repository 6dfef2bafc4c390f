"use strict";
// Sort a table by the column whose heading is pressed; what is missing stays last.
const sortBy = (heading, down) => {
  const body = heading.closest("table").tBodies[0];
  const column = heading.cellIndex;
  const key = (row) => (row.cells[column] ? row.cells[column].dataset.sort : undefined);
  const rows = Array.from(body.rows).map((row, place) => ({ row, place, value: key(row) }));
  const numeric = rows.every((one) => one.value === undefined || (one.value !== "" && !isNaN(one.value)));
  const compare = (a, b) => (numeric ? a - b : a < b ? -1 : a > b ? 1 : 0);
  rows.sort((a, b) => {
    if (a.value === undefined || b.value === undefined) {
      return (a.value === undefined) - (b.value === undefined) || a.place - b.place;
    }
    return (down ? compare(b.value, a.value) : compare(a.value, b.value)) || a.place - b.place;
  });
  heading.parentElement.querySelectorAll("th").forEach((other) => other.setAttribute("aria-sort", "none"));
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...rows.map((one) => one.row));
};
document.addEventListener("click", (event) => {
  const heading = event.target.closest("th button") && event.target.closest("th");
  if (heading) sortBy(heading, heading.getAttribute("aria-sort") !== "descending");
});
// A table that is wider than its box says so, and fades where more follows.
const tell = (box) => {
  const wide = box.scrollWidth > box.clientWidth + 1;
  box.classList.toggle("wide", wide);
  box.classList.toggle("before-end", wide && box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  box.parentElement.querySelector(".more").hidden = !wide;
};
const sizes = new ResizeObserver((all) => requestAnimationFrame(() => all.forEach((one) => tell(one.target))));
document.querySelectorAll(".scroll").forEach((box) => {
  sizes.observe(box);
  box.addEventListener("scroll", () => tell(box), { passive: true });
});
// On paper everything is open.
const folded = () => document.querySelectorAll("details:not([open])");
window.addEventListener("beforeprint", () => {
  folded().forEach((one) => {
    one.open = true;
    one.dataset.printed = "yes";
  });
});
window.addEventListener("afterprint", () => {
  document.querySelectorAll("details[data-printed]").forEach((one) => {
    one.open = false;
    delete one.dataset.printed;
  });
});
