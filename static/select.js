// Selecting rows of a list: shows how many are selected and enables the actions on them.
"use strict";

(() => {
  const find = (what) => document.querySelector(what);
  const boxes = () => [...document.querySelectorAll("[data-select]")];

  function update() {
    const bar = find("[data-bulk]");
    if (!bar) return;
    const all = find("[data-select-all]");
    const chosen = boxes().filter((box) => box.checked);
    for (const box of boxes()) box.closest("tr").classList.toggle("selected", box.checked);
    bar.classList.toggle("has-selection", chosen.length > 0);
    const label = bar.querySelector("[data-selected]");
    label.textContent = chosen.length ? `${chosen.length} selected` : "";
    label.hidden = bar.querySelector("[data-clear]").hidden = chosen.length === 0;
    for (const count of bar.querySelectorAll("[data-count]")) count.textContent = chosen.length ? ` ${chosen.length}` : "";
    for (const button of bar.querySelectorAll("button[name=verb]")) button.disabled = chosen.length === 0;
    if (!all) return;
    all.hidden = false;
    all.checked = chosen.length > 0 && chosen.length === boxes().length;
    all.indeterminate = chosen.length > 0 && !all.checked;
  }

  function check(wanted) {
    for (const box of boxes()) box.checked = wanted;
    update();
  }

  // Listens on the document, because a refresh replaces elements.
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-select-all]")) check(event.target.checked);
    else if (event.target.matches("[data-select]")) update();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-clear]")) check(false);
  });
  document.addEventListener("spoils:fresh", update);
  // A browser that goes back to a page restores its checkboxes.
  addEventListener("pageshow", update);
  update();
})();
