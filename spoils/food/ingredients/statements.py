"""Sentences that stand among the ingredients and are none: traces, declarations, footnotes, advice."""

import re

_MAY_CONTAIN = re.compile(
    r"\b(?:may (?:also )?contain|peut (?:aussi |également )?contenir|peuvent contenir|kann (?:auch )?(?:spuren|enthalten|geringe)"
    r"|kann\b[^.;]{1,120}\benthalten|pu[oòó]'? contenere|pu[eé]den? contener|pode conter|kan (?:sporen|bevatten)|mo[zż]e zawiera[cć]"
    r"|kan inneh[aå]lla|poate con[tțţ]ine|може да съдържа|possible traces|traces? (?:possibles?|éventuelles?|of|de|d'|von)"
    r"|trazas de|tracce di|tra[cç]os de|sporen van|spuren von|(?:made|produced|manufactured|packed|fabriqué|élaboré|hergestellt|prodotto)"
    r"[^.;]{0,80}\b(?:facility|factory|atelier|site|equipment|betrieb|stabilimento)\b|قد يحتوي)",
    re.IGNORECASE,
)
_CONTAINS = re.compile(
    r"(?:contains?|contient|enthält|contiene|contém|contem|bevat|съдържа|zawiera|innehåller|con[tțţ]ine|يحتوي)\b[\s:]*",
    re.IGNORECASE,
)
# Within a name only a capital letter tells that a new sentence began there.
_CONTAINS_WITHIN = re.compile(r"(?<=[a-zà-ÿ)%0-9]) (?=(?:Contains|Contient|Enthält|Contiene|Contém|Bevat) )")
_OR_LESS = re.compile(
    r"^(?:contains?\s)?(?:(?:less than|moins de)\s?)?[0-9.,]+\s?%(?:\s(?:or less|ou moins))?(?:\s(?:of|de))?(?: each of)?(?: the following)?$"
    r"|^contains (?:one or more )?(?:of )?the following$",
    re.IGNORECASE,
)
_FOOTNOTE = re.compile(
    r"\b(?:organic|farming|agriculture|biolog\w*|bio|öko\w*|ecológic\w*|ecologic\w*|fair\s?trade|rainforest|kontrolliert\w*"
    r"|commerce équitable|équitable|ökologisch\w*|anbau|origine|certifi\w*|reconstitu\w*|rspo)\b",
    re.IGNORECASE,
)
_ADVICE = re.compile(
    r"(?:store|keep|refrigerate|best before|serve|shake|suitable|warning|for allergens|allergens?\b|allerg(?:y|en) advice|product of|net w|see "
    r"|à conserver|conserver|a consommer|à consommer|ne convient|convient|conditionné|fabriqué|produit|pour les allergènes|les (?:ingrédients|informations)"
    r"|kühl|lagern|trocken|nach dem öffnen|unter schutz|allergene|mindestens haltbar|conservar|consérvese|consumir|envasado|elaborado|sin "
    r"|conservare|confezionato|da consumar|bewaren|koel|przechowywać|sans |ohne |senza |glutenfrei|gluten[- ]free)",
    re.IGNORECASE,
)
_HEADING = re.compile(
    r"\b(?:ingredients?|ingrédients?|zutaten|ingredientes|ingredienti|ingrediënten|ingrediente|съставки|składniki|ingredienser|المكونات)"
    r"(?: list)?\s?[:：]\s?",
    re.IGNORECASE,
)


def without_heading(text: str) -> str:
    """The text behind `Ingredients:`; what a label says before it is not the list."""
    heading = _HEADING.search(text)
    return text[heading.end() :] if heading else text


def may_contain(text: str) -> int | None:
    """Where a sentence about traces begins in this text."""
    found = _MAY_CONTAIN.search(text)
    return found.start() if found else None


def contains_within(text: str) -> int | None:
    """Where `Contains …` begins in the middle of a name, its full stop forgotten."""
    found = _CONTAINS_WITHIN.search(text)
    return found.end() if found else None


def declares(text: str) -> bool:
    """Tell whether this begins as `Contains …` does."""
    return _CONTAINS.match(text) is not None


def without_contains(text: str) -> str:
    """`wheat, milk` of `Contains: wheat, milk`."""
    return _CONTAINS.sub("", text, count=1)


def or_less(text: str) -> bool:
    """Tell whether this only says how little there is of what follows: `contains 2% or less of`."""
    return _OR_LESS.match(text) is not None


def footnote(text: str) -> bool:
    """Tell whether this explains an asterisk."""
    return text.startswith("*") and _FOOTNOTE.search(text) is not None


def advice(text: str) -> bool:
    """Tell whether a sentence is about keeping, serving or packing."""
    return _ADVICE.match(text) is not None
