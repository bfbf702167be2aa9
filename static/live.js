// Refreshes a page while nobody uses it, and adds keyboard shortcuts. Pages work without this script.
"use strict";

(() => {
  const EVERY = 5000;
  const FIELDS = "input, textarea, select, [contenteditable]";
  let etag = null;
  let loggedOut = false;

  const busy = () => {
    const at = document.activeElement;
    return (
      document.hidden ||
      loggedOut ||
      document.querySelector("details.menu[open], dialog[open], main input:checked") ||
      (at && at.closest("main") && at.matches(FIELDS)) ||
      !getSelection().isCollapsed
    );
  };

  // Writes only what differs, so that elements keep their focus and open menus stay open.
  const follow = (old, fresh) => {
    for (const { name, value } of fresh.attributes) {
      if (name !== "open" && old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    const [olds, freshes] = [[...old.childNodes], [...fresh.childNodes]];
    freshes.forEach((node, at) => {
      const was = olds[at];
      if (!was) old.append(node);
      else if (was.nodeType !== node.nodeType || was.nodeName !== node.nodeName) was.replaceWith(node);
      else if (node.nodeType === Node.ELEMENT_NODE) follow(was, node);
      else if (was.data !== node.data) {
        was.data = node.data;
        if (old.matches(".value, td, td span")) fade(old);
      }
    });
    olds.slice(freshes.length).forEach((node) => node.remove());
  };

  const fade = (element) => {
    if (element.querySelector("time") || element.closest("time")) return;
    element.classList.remove("changed");
    void element.offsetWidth;
    element.classList.add("changed");
  };

  const rowsOf = (page) => [...page.querySelectorAll("table.jobs a.name")].map((link) => link.getAttribute("href"));

  const announce = (number) => {
    const place = document.querySelector("[data-newer]");
    if (!place) return;
    place.hidden = false;
    place.textContent = number ? `Show ${number} newer` : "The list has changed: show";
  };

  const take = (fresh) => {
    for (const part of [".status-bar", ".health"]) {
      const [was, is] = [document.querySelector(part), fresh.querySelector(part)];
      if (was && is) follow(was, is);
    }
    const [content, its] = [document.querySelector("[data-content]"), fresh.querySelector("[data-content]")];
    if (!content || !its) return;
    const [olds, news] = [rowsOf(document), rowsOf(fresh)];
    // Rows must not move under the pointer: a button announces new ones.
    if (olds.join() === news.join()) follow(content, its);
    else announce(news.filter((row) => !olds.includes(row)).length);
    document.dispatchEvent(new Event("spoils:fresh"));
  };

  const refresh = async () => {
    if (busy()) return;
    try {
      const answer = await fetch(location.href, {
        headers: etag ? { "If-None-Match": etag } : {},
        cache: "no-store",
        // Nothing of a login page is wanted, and one of another origin could not be read.
        redirect: "manual",
      });
      if (answer.type === "opaqueredirect" || [401, 403].includes(answer.status)) loggedOut = true;
      if (answer.status !== 200 || loggedOut) return;
      const text = await answer.text();
      if (busy()) return;
      etag = answer.headers.get("ETag");
      take(new DOMParser().parseFromString(text, "text/html"));
    } catch {
      // The next refresh may succeed.
    }
  };

  const seen = document.querySelector(".health .seen");
  if (seen && document.querySelector("[data-content]")) {
    setInterval(refresh, EVERY);
    document.addEventListener("visibilitychange", refresh);
  }

  const move = (by) => {
    const rows = [...document.querySelectorAll("main tbody tr")].filter((row) => row.querySelector("a"));
    const at = rows.findIndex((row) => row.contains(document.activeElement));
    const row = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1)];
    row?.querySelector("a").focus();
  };

  // The focused row, or the actions on the page of one job.
  const here = () => document.activeElement.closest("tbody tr") ?? document.querySelector(".head-actions");

  const retry = () => {
    const form = here()?.querySelector('form[action$="/retries"], form[action$="/runs"]');
    form?.requestSubmit();
  };

  // Only focuses the Delete button: Enter presses it.
  const remove = () => {
    const button = here()?.querySelector('form[action$="/deletions"] button');
    const menu = button?.closest("details");
    if (menu) menu.open = true;
    button?.focus();
  };

  const choose = () => here()?.querySelector('input[type="checkbox"]')?.click();

  const HELP = [
    ["/", "search"],
    ["j, k", "next and previous row"],
    ["Enter", "open the row"],
    ["x", "select the row"],
    ["r", "retry the job, or run it now"],
    ["d", "go to the Delete button"],
    ["Esc", "close"],
    ["?", "show the shortcuts"],
  ];

  const help = () => {
    let dialog = document.querySelector("dialog.keys");
    if (!dialog) {
      dialog = document.createElement("dialog");
      dialog.className = "keys";
      dialog.setAttribute("aria-label", "Keyboard shortcuts");
      const list = document.createElement("dl");
      for (const [key, words] of HELP) {
        const [term, text] = [document.createElement("dt"), document.createElement("dd")];
        const mark = document.createElement("kbd");
        mark.textContent = key;
        term.append(mark);
        text.textContent = words;
        list.append(term, text);
      }
      const close = document.createElement("button");
      close.className = "button";
      close.textContent = "Close";
      close.addEventListener("click", () => dialog.close());
      dialog.append(list, close);
      document.body.append(dialog);
    }
    dialog.showModal();
  };

  const KEYS = { j: () => move(1), k: () => move(-1), r: retry, d: remove, x: choose, "?": help };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest(FIELDS) || document.querySelector("dialog[open]")) return;
    const act = KEYS[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-newer]")) location.reload();
  });
})();
