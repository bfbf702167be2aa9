"""Hostile payloads in every text that a page can show, in a real browser: nothing runs, no policy is violated.

All of them are on every page. By default a few of them are searched, previewed, paused and submitted one by one;
SPOILS_EVERY_BROWSER_COMBINATION=1 does that with each.
"""

import json
from urllib.parse import urlencode
from uuid import UUID

import pytest
from playwright.sync_api import Dialog

from tests.web.dashboard.scenes import NOODLES, TRACEBACK, Scenes
from tests.web.dashboard.windows import EVERY_COMBINATION, Windows

pytestmark = pytest.mark.browser

RUN = "alert(1);window.hacked=1"
PAYLOADS = [
    *(
        f"<{tag}>{RUN}</{tag}>"
        for tag in ("script", "SCRIPT", "scr\tipt", "svg><script", "style", "noscript", "title")
    ),
    *(
        f"<script src={src}></script>"
        for src in ("//evil.example/x.js", "data:text/javascript,alert(1)", "/static/x.js")
    ),
    *(
        f"<{tag} src=x onerror='{RUN}'>"
        for tag in ("img", "audio", "video", "source", "input type=image", "image")
    ),
    *(
        f"<{tag} onload='{RUN}'>"
        for tag in ("svg", "body", "iframe", "link rel=stylesheet href=x", "object data=x")
    ),
    *(
        f"<{tag} onfocus='{RUN}' autofocus>"
        for tag in ("input", "select", "textarea", "a href=x", "div tabindex=0")
    ),
    *(
        f"<a href='{scheme}{RUN}'>x</a>"
        for scheme in ("javascript:", "JaVaScRiPt:", "java\nscript:", "vbscript:", "data:text/html,")
    ),
    *(
        f"{end}<script>{RUN}</script>"
        for end in ('">', "'>", "-->", "]]>", "</textarea>", "</title>", "</pre>", "</style>")
    ),
    *(f"{quote} onmouseover={RUN} x={quote}" for quote in ('"', "'", "`", " ")),
    f"<svg><animate onbegin='{RUN}' attributeName=x dur=1s>",
    f"<details open ontoggle='{RUN}'>",
    f"<marquee onstart='{RUN}'>",
    f"<math><mi xlink:href='javascript:{RUN}'>x</mi></math>",
    f"<form action='javascript:{RUN}'><button autofocus>x</button></form>",
    f"<base href='https://evil.example/'><meta http-equiv=refresh content='0;url=javascript:{RUN}'>",
    f"<template><script>{RUN}</script></template><iframe srcdoc='<script>{RUN}</script>'>",
    f"{{{{ 7*7 }}}}{{% raw %}}<script>{RUN}</script>{{% endraw %}}",
    f"${{{RUN}}}#{{7*7}}<%= 7*7 %>",
    f"\\u003cscript\\u003e{RUN}\\u003c/script\\u003e",
    f"&lt;script&gt;{RUN}&lt;/script&gt;&#60;img src=x onerror={RUN}&#62;",
    f"javascript:{RUN}//",
    f"<embed src=javascript:{RUN}><applet code=x>",
    f"<button formaction='javascript:{RUN}' autofocus>x</button>",
    f"<img src='x' srcset='x' onerror={RUN}//",
    f"<svg><use href='data:image/svg+xml,<svg onload={RUN}>#x'/></svg>",
    f"<style>@import 'javascript:{RUN}';*{{background:url(javascript:{RUN})}}</style>",
    f"\u202e<script>{RUN}</script>\u2066\u2028\u2029",
]
ONE_BY_ONE = PAYLOADS if EVERY_COMBINATION else PAYLOADS[::12]
TRAP = """
window.reports = [];
document.addEventListener('securitypolicyviolation', (event) => window.reports.push(event.blockedURI));
"""
INSPECT = """() => [
  window.hacked, window.reports, document.querySelectorAll('main img, main iframe, main object, base, marquee').length,
  [...document.querySelectorAll('*')].filter((at) => [...at.attributes].some((one) => /^on/i.test(one.name))).length,
  [...document.querySelectorAll('[href], [action], [src]')].filter(
    (at) => ['href', 'action', 'src'].some(
      (name) => /^\\s*(javascript|data|vbscript):/i.test(at.getAttribute(name) ?? '')
    )
  ).length,
]"""

PAUSED = """(text) => {
  const form = document.querySelector('form[action="/pauses"], form[action="/resumptions"]');
  form.setAttribute('action', '/pauses');
  form.querySelector('input[name="type"]').value = text;
  form.submit();
}"""
REFUSED = """(text) => {
  const form = document.querySelector('form[action*="/enqueue/"]');
  form.noValidate = true;
  for (const field of form.querySelectorAll('input:not([type=hidden]), textarea')) {
    field.type = 'text';
    field.value = text;
  }
  form.submit();
}"""


def place(scenes: Scenes) -> UUID:
    """A failed job for each payload, and one that has them all; its id."""
    for payload in PAYLOADS:
        task_id = scenes.task(
            state="failed", task_type=payload, error_message=f"{payload}: {payload}",
            metadata={"type": payload, payload: payload, "name": payload},
        )  # fmt: skip
        scenes.attempt(task_id, task_type=payload, error_class=payload, message=payload, traceback=payload)
    scenes.at_work(*PAYLOADS)
    scenes.connection.exec_driver_sql(
        "UPDATE spoils_workers SET host = %s, release = %s", (PAYLOADS[0], PAYLOADS[10])
    )
    all_of_them = {"type": "FetchProductJob", **{payload: payload for payload in PAYLOADS}, "list": PAYLOADS}
    task_id = scenes.task(
        state="failed",
        task_type="fetch_product",
        metadata=all_of_them,
        error_message=json.dumps(PAYLOADS),
        attempts=60,
    )
    for number, payload in enumerate(PAYLOADS, start=1):
        scenes.attempt(
            task_id, attempt=number, error_class=payload, message=payload,
            traceback=TRACEBACK.replace("503", payload).replace("fetch_product.py", payload), release=payload,
        )  # fmt: skip
    for payload in PAYLOADS:
        scenes.connection.exec_driver_sql(
            "INSERT INTO spoils_audit (who, verb, task_id, about, done, note) VALUES (%s, %s, NULL, %s, false, %s)",
            (payload, "retry", payload, payload),
        )
    scenes.product(
        name=PAYLOADS[0], brands=PAYLOADS[10], quantity=PAYLOADS[20], ingredients_text=" ".join(PAYLOADS),
        analysis={"ingredients": [{"name": one, "known_as": one, "allergens": [one]} for one in PAYLOADS]},
    )  # fmt: skip
    return task_id


def test_none_of_them_runs_and_no_policy_is_violated(windows: Windows, scenes: Scenes) -> None:
    task_id = place(scenes)
    page = windows.open("/login")
    site = page.url.partition("/login")[0].rstrip("/")
    dialogs: list[str] = []

    def heard(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    def check(where: str) -> None:
        assert page.evaluate(INSPECT) == [None, [], 0, 0, 0], where

    def submit(script: str, payload: str) -> None:
        with page.expect_navigation():
            page.evaluate(script, payload)
        check(payload)

    page.on("dialog", heard)
    page.add_init_script(TRAP)
    page.goto(f"{site}/errors")
    groups: list[str] = page.evaluate(
        "[...document.querySelectorAll('a[href^=\"/errors/\"]')].map((at) => at.href)"
    )
    assert groups
    paths = [
        *(
            "/jobs",
            "/jobs?state=failed",
            f"/jobs/{task_id}",
            "/products",
            f"/products/{NOODLES}",
            "/api/docs",
        ),
        *("/errors", "/audit", "/workers", "/schedules", "/enqueue", "/enqueue/fetch-product"),
    ]
    for target in [*(site + path for path in paths), *groups[:: 1 if EVERY_COMBINATION else 12]]:
        page.goto(target)
        check(target)
    flashes: list[str] = []
    for payload in ONE_BY_ONE:
        submit("(text) => { location = '/jobs?q=' + encodeURIComponent('name:' + text) }", payload)
        page.goto(
            f"{site}/bulks/new?{urlencode({'verb': 'retry', 'all': '1', 'state': 'failed', 'type': payload})}"
        )
        check(payload)
        # The flash of an action, on the page that it leads back to.
        page.goto(f"{site}/workers")
        submit(PAUSED, payload)
        flashes += page.locator(".flash").all_inner_texts()
        # A form that is refused and shows its values again.
        page.goto(f"{site}/enqueue/fetch-product")
        submit(REFUSED, payload)
    assert dialogs == []
    assert sum("alert(1)" in flash for flash in flashes) > len(ONE_BY_ONE) / 2
    # Invalid values are refused, which a browser reports in its console.
    expected = ("status of 4", "does not conform to the required format")
    windows.complaints[:] = [one for one in windows.complaints if not any(words in one for words in expected)]
