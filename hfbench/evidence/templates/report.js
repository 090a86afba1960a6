"use strict";
// The page is complete without this: it sorts tables, filters the flips and says what scrolls.

function sortKey(cell) {
  const text = cell.textContent.trim();
  const number = parseFloat(text.replace(/,/g, ""));
  return Number.isNaN(number) ? text.toLowerCase() : number;
}

function sortBy(table, column, heading) {
  const descending = heading.getAttribute("aria-sort") !== "descending";
  const body = table.tBodies[0];
  const keyed = Array.from(body.rows, (row) => [sortKey(row.cells[column]), row]);
  keyed.sort(([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");  // without a value: last
    const order = typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;
    return descending ? -order : order;
  });
  for (const th of table.tHead.rows[0].cells) th.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  body.append(...keyed.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => sortBy(table, column, heading));
  });
}

const filters = document.querySelector(".filters");
if (filters) {
  filters.hidden = false;
  const apply = () => {
    const wanted = {};
    for (const select of filters.querySelectorAll("select")) wanted[select.name] = select.value;
    for (const row of document.querySelectorAll("tr[data-flip]")) {
      row.hidden = Object.entries(wanted).some(([name, value]) => value && row.dataset[name] !== value);
    }
    for (const details of document.querySelectorAll("details.flips")) {
      const shown = details.querySelectorAll("tr[data-flip]:not([hidden])").length;
      details.querySelector(".shown").textContent = `${shown} shown`;
    }
  };
  filters.addEventListener("change", apply);
}

const scrolling = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    target.previousElementSibling.hidden = target.scrollWidth <= target.clientWidth + 1;
  }
});
for (const region of document.querySelectorAll(".scroll")) {
  const hint = document.createElement("p");
  hint.className = "hint";
  hint.textContent = "More columns: scroll the table to the right \u2192";
  hint.hidden = true;
  region.before(hint);
  scrolling.observe(region);
}
