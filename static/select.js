// Selecting rows of a list: how many are, and the verbs on them, are told beside the checkboxes.
"use strict";

(() => {
  const bar = document.querySelector("[data-bulk]");
  if (!bar) return;
  const all = document.querySelector("[data-select-all]");
  const boxes = () => [...document.querySelectorAll("[data-select]")];
  const told = bar.querySelector("[data-selected]");
  const clear = bar.querySelector("[data-clear]");

  function tell() {
    const chosen = boxes().filter((box) => box.checked);
    for (const box of boxes()) box.closest("tr").classList.toggle("selected", box.checked);
    bar.classList.toggle("has-selection", chosen.length > 0);
    told.textContent = chosen.length ? `${chosen.length} selected.` : "";
    told.hidden = clear.hidden = chosen.length === 0;
    for (const count of bar.querySelectorAll("[data-count]")) count.textContent = chosen.length ? ` ${chosen.length}` : "";
    for (const button of bar.querySelectorAll("button[name=verb]")) button.disabled = chosen.length === 0;
    if (all) {
      all.checked = chosen.length > 0 && chosen.length === boxes().length;
      all.indeterminate = chosen.length > 0 && !all.checked;
    }
  }

  document.addEventListener("change", (event) => {
    if (event.target === all) for (const box of boxes()) box.checked = all.checked;
    if (event.target === all || event.target.matches("[data-select]")) tell();
  });
  clear.addEventListener("click", () => {
    for (const box of boxes()) box.checked = false;
    tell();
  });
  // A browser that comes back to a page brings its checks along.
  addEventListener("pageshow", tell);
  if (all) all.hidden = false;
  tell();
})();
