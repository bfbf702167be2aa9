// The form of a job: its moment is in the visitor's time zone, and the curl command follows the fields as they are typed.
// The page works without this script: in the zone that it names, and with a button for the command.
"use strict";

(() => {
  const PAUSE = 250;
  const form = document.querySelector("form.job-form");
  const command = document.querySelector("[data-curl]");
  if (!form || !command || !form.querySelector("button")) return;

  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) form.elements.zone.value = document.querySelector("[data-zone-of-form]").textContent = zone;

  let timer = 0;
  let latest = 0;

  // The server makes the command, because it knows the types of the fields and masks secrets.
  const mirror = async () => {
    const number = ++latest;
    const body = new URLSearchParams(new FormData(form));
    body.set("preview", "1");
    try {
      const answer = await fetch(form.action, { method: "POST", body, redirect: "manual" });
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (number === latest) command.textContent = page.querySelector("[data-curl]").textContent;
    } catch {
      // The next change may succeed.
    }
  };

  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(mirror, PAUSE);
  });
})();
