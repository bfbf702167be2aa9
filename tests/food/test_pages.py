"""The pages of products, and the jobs that make one again."""

import json
import re

import pytest
from sqlalchemy import text

from tests.web.dashboard.pages import Visitor, actions, links, words
from tests.web.dashboard.scenes import NOODLE_ANALYSIS, NOODLES, Scenes


def test_no_product_yet_tells_how_one_is_made(admin: Visitor) -> None:
    page = words(admin.see("/products"))
    assert "No product has been fetched yet." in page
    assert "curl -X POST" in page


def test_the_list_names_the_last_fetched_first(admin: Visitor, scenes: Scenes) -> None:
    scenes.product(
        "3017620422003", name="Nutella", updated_at="2026-01-01T00:00:00Z", brands="Ferrero", nova_group=4
    )
    scenes.product(NOODLES, name="Noodles", updated_at="2026-01-02T00:00:00Z")
    scenes.product("96385074", updated_at="2026-01-03T00:00:00Z")
    response = admin.see("/products")
    assert re.findall(r'href="/products/(\d+)"', response.text) == ["96385074", NOODLES, "3017620422003"]
    assert "Nutella Ferrero" in words(response)


def test_pages_of_products_go_on_and_back(admin: Visitor, scenes: Scenes) -> None:
    scenes.connection.execute(
        text(
            "INSERT INTO products (barcode, document, updated_at) "
            "SELECT (1000000000000 + n)::text, '{}', now() - make_interval(mins => n / 10) "
            "FROM generate_series(1, 120) AS n"
        )
    )
    first = admin.see("/products")
    second = admin.see(_onward(first.text, "next"))
    third = admin.see(_onward(second.text, "next"))
    pages = [re.findall(r'class="name" href="/products/(\d+)"', page.text) for page in (first, second, third)]
    assert [len(page) for page in pages] == [50, 50, 20]
    assert len({row for page in pages for row in page}) == 120
    assert (
        re.findall(r'class="name" href="/products/(\d+)"', admin.see(_onward(third.text, "prev")).text)
        == pages[1]
    )


@pytest.mark.parametrize("query", ["older=x", "newer=" + "A" * 300, "older=MjAyNnwx", "older=x&newer=y"])
def test_a_place_that_no_page_links_to_is_refused(admin: Visitor, query: str) -> None:
    admin.see(f"/products?{query}", 400)


def test_a_product_is_shown_with_what_is_in_it(admin: Visitor, scenes: Scenes) -> None:
    scenes.product(
        name="Thai peanut noodle kit",
        brands="Simply Asia",
        quantity="155 g",
        nutriscore="d",
        nova_group=4,
        ingredients_text="Noodle: rice, water. Peanut.",
        document=json.dumps({"product": {"generic_name": "Rice noodles"}}),
        analysis=NOODLE_ANALYSIS,
    )
    response = admin.see(f"/products/{NOODLES}")
    page = words(response)
    for told in (
        "Rice noodles · Simply Asia · 155 g",
        "NOVA group 4 of 4, ultra-processed",
        "Allergens 1 peanuts",
        "Additives 1 E330",
        "Noodle 75 %",
        "rice en:rice 56 %",
        "peanut en:peanut < 0.1 % allergen: peanuts",
        "additive: E330, acidity regulator",
        "As printed Noodle: rice, water. Peanut .",
        "May contain sesame seeds (traces)",
        "Shares are estimates.",
    ):
        assert told in page
    assert '<span aria-hidden="true" class="chosen">D</span>' in response.text


def test_a_product_of_which_nothing_is_known_is_shown(admin: Visitor, scenes: Scenes) -> None:
    scenes.product("12345678")
    page = words(admin.see("/products/12345678"))
    assert "Not analysed yet." in page
    assert "Open Food Facts has no label text." in page


@pytest.mark.parametrize("analysis", [{}, [], "text", {"ingredients": [None, {"share": "much"}]}])
def test_an_odd_analysis_is_shown_as_far_as_it_goes(admin: Visitor, scenes: Scenes, analysis: object) -> None:
    scenes.product(analysis=analysis)
    assert "Vegan not known" in words(admin.see(f"/products/{NOODLES}"))


@pytest.mark.parametrize("written", ["737628064502", "00737628064502"])
def test_a_barcode_is_led_to_its_one_spelling(admin: Visitor, scenes: Scenes, written: str) -> None:
    scenes.product()
    assert admin.see(f"/products/{written}", 302).location == f"/products/{NOODLES}"


@pytest.mark.parametrize("barcode", ["0000000000017", "1", "nope", "٤٠٠٦٣٨١٣٣٣٩٣١", "..%2f", "1" * 15, "%00"])
def test_a_product_that_is_not_there_is_a_404_page(admin: Visitor, barcode: str) -> None:
    response = admin.see(f"/products/{barcode}", 404)
    assert response.mimetype == "text/html"


def test_the_jobs_that_made_it_are_linked(admin: Visitor, scenes: Scenes) -> None:
    fetched = scenes.task(state="finished", metadata={"type": "FetchProductJob", "barcode": NOODLES})
    maker = scenes.task(state="finished", metadata={})
    product_id = scenes.product(fetched_by=maker)
    analysed = scenes.task(metadata={"type": "AnalyzeIngredientsJob", "product_id": product_id})
    as_given = scenes.task(metadata={"type": "FetchProductJob", "barcode": NOODLES.lstrip("0")})
    other = scenes.task(metadata={"type": "FetchProductJob", "barcode": "3017620422003"})
    found = links(admin.see(f"/products/{NOODLES}"))
    assert {f"/jobs/{one}" for one in (fetched, maker, analysed, as_given)} <= set(found)
    assert f"/jobs/{other}" not in found


def test_fetch_again_enqueues_its_job_once(admin: Visitor, scenes: Scenes) -> None:
    scenes.product()
    assert f"/products/{NOODLES}/fetches" in actions(admin.see(f"/products/{NOODLES}"))
    response = admin.press(f"/products/{NOODLES}/fetches")
    assert (response.status_code, response.location) == (303, f"/products/{NOODLES}")
    ((task_id, metadata),) = scenes.all("SELECT id, metadata FROM fang_tasks")
    assert metadata == {"type": "FetchProductJob", "barcode": NOODLES}
    page = admin.see(response.location)
    assert "Enqueued the job. Show job" in words(page)
    assert f"/jobs/{task_id}" in links(page)
    admin.press(f"/products/{NOODLES}/fetches")
    page = admin.see(response.location)
    assert "The same unique job already exists. Show the duplicate" in words(page)
    assert scenes.value("SELECT count(*) FROM fang_tasks") == 1


def test_analyse_again_enqueues_its_job(admin: Visitor, scenes: Scenes) -> None:
    product_id = scenes.product()
    assert f"/products/{NOODLES}/analyses" in actions(admin.see(f"/products/{NOODLES}"))
    assert admin.press(f"/products/{NOODLES}/analyses").status_code == 303
    assert scenes.value("SELECT metadata FROM fang_tasks") == {
        "type": "AnalyzeIngredientsJob",
        "product_id": product_id,
    }


@pytest.mark.parametrize("noun", ["fetches", "analyses"])
def test_what_was_never_fetched_is_not_fetched_again(admin: Visitor, scenes: Scenes, noun: str) -> None:
    assert admin.press(f"/products/{NOODLES}/{noun}").status_code == 404
    assert scenes.value("SELECT count(*) FROM fang_tasks") == 0


def _onward(page: str, rel: str) -> str:
    found = re.search(rf'rel="{rel}" href="([^"]+)"', page)
    assert found is not None
    return found[1].replace("&amp;", "&")
