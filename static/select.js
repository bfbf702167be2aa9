// Selecting rows of a list: how many are, and the verbs on them, are told beside the checkboxes.
"use strict";

(() => {
  const find = (what) => document.querySelector(what);
  const boxes = () => [...document.querySelectorAll("[data-select]")];

  function tell() {
    const bar = find("[data-bulk]");
    if (!bar) return;
    const all = find("[data-select-all]");
    const chosen = boxes().filter((box) => box.checked);
    for (const box of boxes()) box.closest("tr").classList.toggle("selected", box.checked);
    bar.classList.toggle("has-selection", chosen.length > 0);
    const told = bar.querySelector("[data-selected]");
    told.textContent = chosen.length ? `${chosen.length} selected.` : "";
    told.hidden = bar.querySelector("[data-clear]").hidden = chosen.length === 0;
    for (const count of bar.querySelectorAll("[data-count]")) count.textContent = chosen.length ? ` ${chosen.length}` : "";
    for (const button of bar.querySelectorAll("button[name=verb]")) button.disabled = chosen.length === 0;
    if (!all) return;
    all.hidden = false;
    all.checked = chosen.length > 0 && chosen.length === boxes().length;
    all.indeterminate = chosen.length > 0 && !all.checked;
  }

  function check(wanted) {
    for (const box of boxes()) box.checked = wanted;
    tell();
  }

  // On the document, since what is on the page may be replaced while it stands open.
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-select-all]")) check(event.target.checked);
    else if (event.target.matches("[data-select]")) tell();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-clear]")) check(false);
  });
  document.addEventListener("spoils:fresh", tell);
  // A browser that comes back to a page brings its checks along.
  addEventListener("pageshow", tell);
  tell();
})();
