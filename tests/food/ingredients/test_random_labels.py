"""Labels made of known parts in eight languages: no allergen is lost, wherever it stands.

Two thousand by default; SPOILS_RANDOM_LABELS=100000 reads as many.
"""

import os
import random
from dataclasses import dataclass

from spoils.food.ingredients import analyse

NUMBER = int(os.environ.get("SPOILS_RANDOM_LABELS", "2000"))


@dataclass
class Language:
    """Words of one language: allergens by tag, harmless ones, and sentences around a word."""

    allergens: dict[str, str]
    plain: tuple[str, ...]
    function: str
    footnote: str
    traces: tuple[str, ...]
    declares: str
    qualified: tuple[str, ...] = ()


def words(text: str) -> dict[str, str]:
    """`milk=milk powder, eggs=egg` as a mapping of the words to their tags."""
    return {word: f"en:{tag}" for tag, word in (pair.split("=") for pair in text.split(", "))}


LANGUAGES = {
    "en": Language(
        words("milk=skimmed milk powder, milk=whey, gluten=wheat flour, gluten=barley malt, eggs=dried egg white, soybeans=soya, nuts=hazelnuts, peanuts=peanuts, fish=anchovies, celery=celery seeds, mustard=mustard flour, sesame-seeds=sesame, molluscs=mussels, crustaceans=prawns, lupin=lupin flour, sulphur-dioxide-and-sulphites=sulphites"),
        ("sugar", "salt", "rice 12%", "cocoa butter", "coconut milk"), "emulsifier", "*organic",
        ("May contain {}", "Made in a factory that handles {}", "Contains traces of {}"), "Contains: {}", ("dried {}", "organic {}"),
    ),
    "fr": Language(
        words("milk=lait écrémé, milk=beurre, gluten=farine de blé, gluten=orge, eggs=œufs, soybeans=soja, nuts=noisettes, peanuts=arachides, fish=poisson, celery=céleri, mustard=moutarde, sesame-seeds=sésame, molluscs=moules, crustaceans=crevettes, lupin=lupin, sulphur-dioxide-and-sulphites=sulfites"),
        ("sucre", "sel", "riz 12%", "beurre de cacao", "noix de coco"), "émulsifiant", "*issu de l'agriculture biologique",
        ("Peut contenir des traces de {}", "Fabriqué dans un atelier qui manipule {}", "Traces éventuelles de {}", "Présence possible de: {}"), "Contient : {}",
    ),
    "de": Language(
        words("milk=Magermilchpulver, milk=Butterreinfett, gluten=Weizenmehl, gluten=Hartweizengrieß, eggs=Eier, soybeans=Sojabohnen, nuts=Haselnüsse, peanuts=Erdnüsse, fish=Fisch, celery=Sellerie, mustard=Senfsaat, sesame-seeds=Sesam, molluscs=Muscheln, crustaceans=Garnelen, lupin=Lupinenmehl, sulphur-dioxide-and-sulphites=Schwefeldioxid"),
        ("Zucker", "Salz", "Reis 12%", "Kakaobutter", "Trockenhefe"), "Emulgator", "*aus kontrolliert ökologischem Anbau",
        ("Kann Spuren von {} enthalten", "Das Produkt wird in einem Betrieb hergestellt, in dem {} verarbeitet werden", "Kann {} enthalten"), "Enthält: {}",
    ),
    "es": Language(
        words("milk=leche en polvo, milk=mantequilla, gluten=harina de trigo, gluten=cebada, eggs=huevos, soybeans=soja, nuts=avellanas, peanuts=cacahuetes, fish=pescado, celery=apio, mustard=mostaza, sesame-seeds=sésamo, molluscs=mejillones, crustaceans=gambas, lupin=altramuces, sulphur-dioxide-and-sulphites=sulfitos"),
        ("azúcar", "sal", "arroz 12%", "manteca de cacao", "leche de coco"), "emulgente", "*procedente de agricultura ecológica",
        ("Puede contener trazas de {}", "Elaborado en una planta donde se utilizan {}", "Puede contener {}"), "Contiene: {}",
    ),
    "it": Language(
        words("milk=latte scremato in polvere, milk=burro, gluten=farina di frumento, gluten=orzo, eggs=uova, soybeans=soia, nuts=nocciole, peanuts=arachidi, fish=pesce, celery=sedano, mustard=senape, sesame-seeds=sesamo, molluscs=cozze, crustaceans=gamberi, lupin=lupini, sulphur-dioxide-and-sulphites=solfiti"),
        ("zucchero", "sale", "riso 12%", "burro di cacao", "noce di cocco"), "emulsionante", "*da agricoltura biologica",
        ("Può contenere tracce di {}", "Prodotto in uno stabilimento che utilizza {}", "Può contenere {}"), "Contiene: {}",
    ),
    "nl": Language(
        words("milk=magere melkpoeder, milk=roomboter, gluten=tarwebloem, gluten=gerst, eggs=eieren, soybeans=soja, nuts=hazelnoten, peanuts=pinda's, fish=vis, celery=selderij, mustard=mosterdzaad, sesame-seeds=sesamzaad, molluscs=weekdieren, crustaceans=garnalen, lupin=lupinemeel, sulphur-dioxide-and-sulphites=sulfiet"),
        ("suiker", "zout", "rijst 12%", "cacaoboter", "kokosmelk"), "emulgator", "*van biologische landbouw",
        ("Kan sporen van {} bevatten", "Gemaakt in een bedrijf waar ook {} worden verwerkt", "Kan {} bevatten"), "Bevat: {}",
    ),
    "pl": Language(
        words("milk=mleko w proszku, milk=masło, gluten=mąka pszenna, gluten=jęczmień, eggs=jaja, soybeans=soja, nuts=orzechy laskowe, peanuts=orzeszki ziemne, fish=ryby, celery=seler, mustard=gorczyca, sesame-seeds=sezam, molluscs=małże, crustaceans=krewetki, lupin=łubin, sulphur-dioxide-and-sulphites=siarczyny"),
        ("cukier", "sól", "ryż 12%", "masło kakaowe", "mleko kokosowe"), "emulgator", "*z rolnictwa ekologicznego",
        ("Może zawierać {}", "Możliwa obecność: {}", "Może zawierać śladowe ilości {}"), "Zawiera: {}",
    ),
    "pt": Language(
        words("milk=leite em pó, milk=manteiga, gluten=farinha de trigo, gluten=cevada, eggs=ovos, soybeans=soja, nuts=avelãs, peanuts=amendoim, fish=peixe, celery=aipo, mustard=mostarda, sesame-seeds=sésamo, molluscs=mexilhões, crustaceans=camarão, lupin=tremoço, sulphur-dioxide-and-sulphites=sulfitos"),
        ("açúcar", "sal", "arroz 12%", "manteiga de cacau", "leite de coco"), "emulsionante", "*da agricultura biológica",
        ("Pode conter vestígios de {}", "Produzido numa fábrica que utiliza {}", "Pode conter {}"), "Contém: {}",
    ),
}  # fmt: skip


@dataclass
class Label:
    """A label, the tags of what is in its list, and of what stands in its sentences."""

    text: str
    listed: set[str]
    beside: set[str]


def a_label(chance: random.Random) -> Label:
    language = LANGUAGES[chance.choice(sorted(LANGUAGES))]
    listed: set[str] = set()

    def one(depth: int) -> str:
        if depth and chance.random() < 0.1:
            return f"{language.function}: {one(0)}"
        if chance.random() < 0.4:
            name = chance.choice(sorted(language.allergens))
            listed.add(language.allergens[name])
            name = chance.choice(("{}", "{}", *language.qualified)).format(name)
        else:
            name = chance.choice(language.plain)
        if chance.random() < 0.15 and "%" not in name:
            name += chance.choice((" 5%", " (12,5 %)", "*", " (2 g)"))
        if depth and chance.random() < 0.3:
            parts = chance.choice((", ", ", ", "; ")).join(
                one(depth - 1) for _ in range(chance.randint(1, 4))
            )
            return chance.choice(("{} ({})", "{} [{}]")).format(name, parts)
        return name

    text = chance.choice((", ", ", ", "; ", " • ")).join(one(2) for _ in range(chance.randint(1, 7)))
    beside: set[str] = set()
    for _ in range(chance.choice((0, 0, 1, 2))):
        names = chance.sample(sorted(language.allergens), chance.randint(1, 3))
        beside |= {language.allergens[name] for name in names}
        text += ". " + chance.choice((*language.traces, language.declares)).format(", ".join(names))
    if chance.random() < 0.2:
        text += f". {language.footnote}"
    return Label(text, listed, beside)


def test_no_allergen_of_a_random_label_is_lost() -> None:
    chance = random.Random(1)
    for _ in range(NUMBER):
        label = a_label(chance)
        analysis = analyse({"ingredients_text": label.text})
        allergens = {one.tag for one in analysis.allergens}
        traces = {one.tag for one in analysis.traces}
        assert label.listed <= allergens, label.text
        assert label.beside <= allergens | traces, label.text
        assert allergens | traces <= label.listed | label.beside, label.text
