// Local times, the theme switch, copy buttons, and a few keys. Pages work without this script.
"use strict";

const root = document.documentElement;

function localTimes() {
  const two = (number) => String(number).padStart(2, "0");
  const today = new Date().toDateString();
  const month = new Intl.DateTimeFormat("en-GB", { month: "short" });
  const full = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });
  for (const time of document.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime()) || moment.getFullYear() < 2 || moment.getFullYear() > 9998) continue;
    time.title = full.format(moment);
    if (!("clock" in time.dataset)) continue;
    const clock = `${two(moment.getHours())}:${two(moment.getMinutes())}`;
    const day = `${moment.getDate()} ${month.format(moment)}`;
    const old = Math.abs(Date.now() - moment.getTime()) > 180 * 86400000;
    if (moment.toDateString() === today) time.textContent = `${clock}:${two(moment.getSeconds())}`;
    else time.textContent = old ? `${day} ${moment.getFullYear()}` : `${day} ${clock}`;
  }
  for (const mark of document.querySelectorAll("text[data-time]")) {
    const moment = new Date(mark.dataset.time);
    const word = mark.dataset.word ?? (mark.dataset.word = mark.textContent);
    mark.textContent = word.includes(":")
      ? `${two(moment.getHours())}:${two(moment.getMinutes())}`
      : `${moment.getDate()} ${month.format(moment)}`;
  }
  const zone = document.querySelector("[data-zone]");
  if (zone) zone.textContent = `Times shown in ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;
}

function themeSwitch() {
  const button = document.querySelector("[data-theme-switch]");
  if (!button) return;
  const dark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const label = () => button.setAttribute("aria-label", dark() ? "Use the light theme" : "Use the dark theme");
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try {
      localStorage.setItem("spoils-theme", root.dataset.theme);
    } catch {
      // The choice is kept for this page only.
    }
    label();
  });
  button.hidden = false;
  label();
}

// Listens on the document, because a refresh adds new buttons.
function copying() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.dataset.done = "copied";
      button.addEventListener("blur", () => delete button.dataset.done, { once: true });
    } catch {
      button.dataset.done = "copying is not allowed";
    }
  });
}

function showCopying() {
  if (!navigator.clipboard) return;
  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
}

// Leaves empty fields out of the address of a list.
function shortUrls() {
  document.addEventListener("formdata", (event) => {
    if (!event.target.matches("[data-short-url]")) return;
    for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
  });
}

function autoSubmit() {
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  });
}

// Updates "3 min ago", even if a refresh finds nothing new.
function ages() {
  const units = [["s", 60], ["min", 60], ["h", 24], ["day", Infinity]];
  for (const time of document.querySelectorAll("time[data-ago], time[data-since]")) {
    let left = Math.floor((Date.now() - new Date(time.dateTime).getTime()) / 1000);
    if (Number.isNaN(left) || left < 0) continue;
    let unit = units[0][0];
    for (const [name, size] of units) {
      unit = name;
      if (left < size) break;
      left = Math.floor(left / size);
    }
    if (unit === "day" && left !== 1) unit = "days";
    if ("ago" in time.dataset) time.textContent = `${left.toLocaleString("en")} ${unit} ago`;
    else {
      time.firstChild.data = `${left.toLocaleString("en")} `;
      time.querySelector("small").textContent = unit;
    }
  }
}

function keys() {
  const typing = (element) => element.closest("input, textarea, select, [contenteditable]");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/" && !typing(event.target)) {
      const search = document.querySelector("[data-search]");
      if (!search) return;
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape") {
      const open = document.querySelector("details.menu[open]");
      if (!open) return;
      open.open = false;
      open.querySelector("summary").focus();
    }
  });
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
}

function fresh() {
  localTimes();
  ages();
  showCopying();
}

fresh();
document.addEventListener("spoils:fresh", fresh);
setInterval(ages, 5000);
themeSwitch();
copying();
shortUrls();
autoSubmit();
keys();
