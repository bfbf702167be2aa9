"""Labels as they are printed, in the languages and with the habits that they have."""

import pytest

from spoils.food.ingredients import analyse
from tests.food.ingredients.outlines import outline


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sugar, salt; water • rice", "sugar, salt, water, rice"),
        ("ماء، سكر؛ ملح", "ماء, سكر, ملح"),
        ("水、砂糖，食塩", "水, 砂糖, 食塩"),
        ("sugar,,salt;;. ( ) ,", "sugar, salt"),
        (
            "filling (sugar, jam [apple, sugar {cane}]), flour",
            "filling [sugar, jam [apple, sugar [cane]]], flour",
        ),
        ("sugar (cane, salt", "sugar [cane, salt]"),
        ("Sugar Acid), water]", "Sugar Acid, water"),
        ("Noodle: rice, water. Packet: sugar, salt.", "Noodle [rice, water], Packet [sugar, salt]"),
        ("garniture : sucre, pommes ; pâte : farine", "garniture [sucre, pommes], pâte [farine]"),
        (
            "water: sugar: salt: stabilizer: guar gum: rice",
            "water, sugar, salt, stabilizer [guar gum<E412>], rice",
        ),
        ("Ingredients: sugar, salt", "sugar, salt"),
        ("A drink. With pride. Ingredientes: água, sal", "água, sal"),
        ("Zutaten : Zucker", "Zucker"),
        ("&lt;b&gt;Milk&lt;/b&gt; &amp; <i>sugar</i>", "Milk, sugar"),
        ("_Weizen_mehl, farine de _blé_", "Weizenmehl, farine de blé"),
        ("Ferment (L. casei, S. thermophilus), salt", "Ferment [L. casei, S. thermophilus], salt"),
        ("milk (from cows), salt (to taste), cocoa (3.5% fat)", "milk, salt, cocoa"),
        ("caffeine (8.7 mg/100g), salt 1,5 g", "caffeine, salt"),
        ("flavouring including caffeine", "flavouring [caffeine]"),
        ("arômes naturels, dont caféine", "arômes naturels [caféine]"),
        ("flour (with calcium, iron)", "flour [calcium, iron]"),
        ("sugar, contains 2% or less of: salt, yeast", "sugar, salt, yeast"),
    ],
)
def test_a_label_is_taken_apart_at_its_separators_and_nested_as_it_says(text: str, expected: str) -> None:
    assert outline(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("E330", "E330<E330>"),
        ("e-330, E 330, E330i, INS 330", "e-330<E330>, E 330<E330>, E330i<E330i>, INS 330<E330>"),
        ("E450(i), E 472 e", "E450i<E450i>, E 472 e<E472e>"),
        ("colour (caramel E150d)", "colour [caramel E150d<E150d>]"),
        ("caramel (E150d)", "caramel<E150d>"),
        ("colorant : caramel (E150d), sel", "colorant [caramel<E150d>], sel"),
        ("emulsifiers: E322, 471, sugar", "emulsifiers [E322<E322>, 471<E471>], sugar"),
        ("Acidity Regulator (338), 338", "Acidity Regulator [338<E338>]"),
        (
            "Farbstoff E150d, Säuerungsmittel Phosphorsäure",
            "Farbstoff [E150d<E150d>], Säuerungsmittel [Phosphorsäure<E338>]",
        ),
        ("émulsifiant : lécithines (soja)", "émulsifiant [lécithines<E322> [soja]]"),
        (
            "edulcoranti ciclammato di sodio, acesulfame K e aspartame, sale",
            "edulcoranti [ciclammato di sodio<E952>, acesulfame K<E950>, aspartame<E951>], sale",
        ),
        (
            "acidifiants : acide phosphorique, citrate de sodium ; arômes",
            "acidifiants [acide phosphorique<E338>, citrate de sodium<E331>], arômes",
        ),
        ("оцветител: Е150d, лецитин", "оцветител [E150d<E150d>], лецитин<E322>"),
        ("extractives of paprika (color)", "extractives of paprika<E160c>"),
        ("propane-1,2-diol alginate, salt", "propane-1,2-diol alginate<E405>, salt"),
        ("E999999, E12, E1, EE330, E33000", "E999999, E12, E1, EE330, E33000"),
        ("monkey 330, type E, extra", "monkey 330, type E, extra"),
    ],
)
def test_additives_are_found_by_number_and_by_name_in_any_language(text: str, expected: str) -> None:
    assert outline(text) == expected


@pytest.mark.parametrize(
    ("text", "share", "estimate"),
    [
        ("sugar 12 %", 12.0, False),
        ("sugar 12,5%", 12.5, False),
        ("sugar (12.5%)", 12.5, False),
        ("12% sugar", 12.0, False),
        ("sugar (12%; cane)", 12.0, False),
        ("sugar 35 g/100g", 35.0, False),
        ("sugar <2%", 2.0, True),
        ("sugar (min. 20%)", 20.0, True),
        ("sugar 10-12%", 12.0, True),
        ("sugar 20% minimum", 20.0, True),
        ("sugar 999%", 25.0, True),
    ],
)
def test_a_share_on_the_label_is_kept_and_said_to_be_told_or_not(
    text: str, share: float, estimate: bool
) -> None:
    flour, sugar, salt = analyse({"ingredients_text": f"flour, {text}, salt"}).ingredients
    assert sugar.name == "sugar"
    assert (sugar.share, sugar.share_is_estimate) == (share, estimate)
    assert flour.share_is_estimate
    assert salt.share_is_estimate


def test_shares_that_are_not_told_are_estimated_within_those_that_are() -> None:
    wheat, water, flour, oil, salt = analyse(
        {"ingredients_text": "wheat (63%), water, flour (2%), oil, salt"}
    ).ingredients
    shares = [item.share or 0 for item in (wheat, water, flour, oil, salt)]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.1)
    assert [item.share_is_estimate for item in (wheat, water, flour, oil, salt)] == [
        False, True, False, True, True,
    ]  # fmt: skip


def test_shares_that_contradict_their_order_are_not_estimated_from() -> None:
    shares = [item.share for item in analyse({"ingredients_text": "a, b 60%, c, d 50%"}).ingredients]
    assert shares == [None, 60.0, None, 50.0]


def test_a_declaration_behind_the_list_tells_allergens_and_no_ingredient() -> None:
    analysis = analyse({"ingredients_text": "flavouring, sugar. Contains: wheat, soy."})
    assert [item.name for item in analysis.ingredients] == ["flavouring", "sugar"]
    assert [one.tag for one in analysis.allergens] == ["en:gluten", "en:soybeans"]
    assert analysis.traces == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Wasser, Acesulfam K. Enthält eine Phenylalaninquelle.", "Enthält eine Phenylalaninquelle"),
        ("água, sal Contém uma fonte de fenilalanina.", "Contém uma fonte de fenilalanina"),
        ("œufs*, sel. *Œufs issus de l'agriculture biologique", "*Œufs issus de l'agriculture biologique"),
        ("eggs*, salt* *organic", "*organic"),
        ("milk, salt. Keep refrigerated.", "Keep refrigerated"),
        ("lait, sel. Sans gluten.", "Sans gluten"),
        (
            "milk, salt. Our cows graze on green meadows all summer",
            "Our cows graze on green meadows all summer",
        ),
    ],
)
def test_a_sentence_that_is_no_ingredient_is_told_as_what_the_label_also_says(text: str, said: str) -> None:
    analysis = analyse({"ingredients_text": text})
    assert len(analysis.ingredients) == 2
    assert f'The label also says: "{said}".' in analysis.notes
    assert all("*" not in item.name for item in analysis.ingredients)
