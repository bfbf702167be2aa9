"""What an additive is for, as labels say it: `Säuerungsmittel`, `colorant`, `emulsifiers`."""

from spoils.food.ingredients.words import fold

_WORDS = {
    "acid": "acid, acids, acidifier, acidifiers, acidulant, acidulants, acidifiant, acidifiants, sauerungsmittel, acidificante, acidificanti, acidificantes, acidulante, acidulantes, voedingszuur, voedingszuren, киселина, kwas, surgorningsmedel, acidifiere",
    "acidity regulator": "acidity regulator, acidity regulators, acid regulator, acidity correctors, correcteur d'acidite, correcteurs d'acidite, regulateur d'acidite, saureregulator, saureregulatoren, correttore di acidita, correttori di acidita, regolatore di acidita, corrector de acidez, correctores de acidez, correctores de la acidez, regulador de acidez, reguladores de acidez, zuurteregelaar, zuurteregelaars, регулатор на киселинността, regulator kwasowosci, regulatory kwasowosci, surhetsreglerande medel, corector de aciditate",
    "anti-caking agent": "anti caking agent, anticaking agent, anti caking agents, anticaking agents, anti agglomerant, anti agglomerants, antiagglomerant, antiagglomerants, trennmittel, rieselhilfe, antiagglomerante, antiagglomeranti, antiaglomerante, antiaglomerantes, antiapelmazante, antiklontermiddel",
    "anti-foaming agent": "anti foaming agent, antifoaming agent, antimoussant, anti moussant, schaumverhuter, antischiuma, antiespumante",
    "antioxidant": "antioxidant, antioxidants, antioxydant, antioxydants, antioxidationsmittel, antiossidante, antiossidanti, antioxidante, antioxidantes, antioxidantia, антиоксидант, przeciwutleniacz, przeciwutleniacze, antioxidationsmedel",
    "bulking agent": "bulking agent, bulking agents, agent de charge, agents de charge, fullstoff, fullstoffe, agente di carica, agente de carga, vulstof",
    "carrier": "carrier, carriers, support, tragerstoff, tragerstoffe, supporto, soporte",
    "colour": "colour, colours, color, colors, colouring, coloring, colourings, colorings, colorant, colorants, coloured with, farbstoff, farbstoffe, farbemittel, colorante, coloranti, colorantes, corante, corantes, kleurstof, kleurstoffen, оцветител, оцветители, barwnik, barwniki, fargamne, fargamnen, ملون, ملونات, coloranti alimentari",
    "emulsifier": "emulsifier, emulsifiers, emulsifying agent, emulsifiant, emulsifiants, emulgator, emulgatoren, emulsionante, emulsionanti, emulsionantes, emulgente, emulgentes, emulgent, emulgeringsmedel, emulsifiante, емулгатор, емулгатори, emulgatory, مستحلب, emulsificante, emulsificantes",
    "emulsifying salt": "emulsifying salt, emulsifying salts, sel de fonte, sels de fonte, schmelzsalz, schmelzsalze, sali di fusione, sales de fusion, sales fundentes, smeltzout, smeltzouten",
    "firming agent": "firming agent, firming agents, affermissant, affermissants, festigungsmittel, agente di resistenza, endurecedor",
    "flavour enhancer": "flavour enhancer, flavour enhancers, flavor enhancer, flavor enhancers, exhausteur de gout, exhausteurs de gout, geschmacksverstarker, esaltatore di sapidita, esaltatori di sapidita, potenciador del sabor, potenciadores del sabor, smaakversterker, smaakversterkers, intensificador de sabor, intensificadores de sabor, wzmacniacz smaku, potentiator de aroma",
    "flour treatment agent": "flour treatment agent, flour treatment agents, agent de traitement de la farine, agents de traitement de la farine, mehlbehandlungsmittel, agente di trattamento della farina, agente de tratamiento de la harina, meelverbeteraar",
    "foaming agent": "foaming agent, agent moussant, schaummittel, agente schiumogeno, espumante",
    "gelling agent": "gelling agent, gelling agents, gelifiant, gelifiants, geliermittel, gelificante, gelificanti, gelificantes, geleermiddel, желиращ агент",
    "glazing agent": "glazing agent, glazing agents, agent d'enrobage, agents d'enrobage, uberzugsmittel, agente di rivestimento, agenti di rivestimento, agente de recubrimiento, agentes de recubrimiento, glansmiddel, glansmiddelen, glaceermiddel",
    "humectant": "humectant, humectants, feuchthaltemittel, umidificante, umettante, humectante, humectantes, umectante, bevochtigingsmiddel",
    "preservative": "preservative, preservatives, conservateur, conservateurs, conservant, konservierungsstoff, konservierungsstoffe, conservante, conservanti, conservantes, conserveermiddel, conserveermiddelen, консервант, консерванти, konserwant, substancja konserwujaca, substancje konserwujace, konserveringsmedel, مواد حافظة, مادة حافظة, conservador, conservadores",
    "propellant": "propellant, gaz propulseur, treibgas",
    "packaging gas": "packaging gas, gaz d'emballage, gaz de conditionnement, packgas, schutzgas, gas d'imballaggio, gas de envasado",
    "raising agent": "raising agent, raising agents, leavening, leavening agent, leavening agents, poudre a lever, poudres a lever, agent levant, agents levants, backtriebmittel, agente lievitante, agenti lievitanti, gasificante, gasificantes, impulsor, rijsmiddel, rijsmiddelen, levedante, levedantes, bakpulver, набухвател, набухватели, substancja spulchniajaca, substancje spulchniajace",
    "sequestrant": "sequestrant, sequestrants, sequestrante",
    "stabiliser": "stabiliser, stabilisers, stabilizer, stabilizers, stabilising agent, stabilizing agent, stabilising, stabilizing, stabilisant, stabilisants, stabilisator, stabilisatoren, stabilizzante, stabilizzanti, estabilizante, estabilizantes, estabilizador, estabilizadores, stabilisatie middel, стабилизатор, стабилизатори, stabilizator, stabilizatory, مثبت, مثبتات, stabiliseringsmedel",
    "sweetener": "sweetener, sweeteners, edulcorant, edulcorants, sussungsmittel, sussstoff, sussstoffe, edulcorante, edulcoranti, edulcorantes, zoetstof, zoetstoffen, подсладител, подсладители, substancja slodzaca, substancje slodzace, sotningsmedel, محليات, محلي, indulcitor, indulcitori",
    "thickener": "thickener, thickeners, thickening agent, thickening agents, epaississant, epaississants, verdickungsmittel, addensante, addensanti, espesante, espesantes, espessante, espessantes, verdikkingsmiddel, verdikkingsmiddelen, сгъстител, substancja zageszczajaca, substancje zageszczajace, fortjockningsmedel, agent de ingrosare",
}  # fmt: skip

#: Folded word of a label to the function's English name.
FUNCTIONS: dict[str, str] = {
    fold(word): function for function, words in _WORDS.items() for word in words.split(", ")
}

_LONGEST = max(word.count(" ") + 1 for word in FUNCTIONS)
# What a label calls these overlaps: citric acid stands under either, agar under any of the three.
_FAMILIES = (
    {"acid", "acidity regulator", "sequestrant"},
    {"thickener", "gelling agent", "stabiliser", "emulsifier", "bulking agent", "humectant", "carrier", "emulsifying salt"},
    {"raising agent", "acidity regulator", "stabiliser"},
    {"preservative", "antioxidant", "acidity regulator", "acid"},
    {"bulking agent", "sweetener", "humectant"},
)  # fmt: skip


def function_of(name: str) -> str | None:
    """The function that this name is, such as `emulsifier` for `Emulgatoren`; None for anything else."""
    return FUNCTIONS.get(fold(name))


def split_function(name: str) -> tuple[str, str] | None:
    """Cut `Farbstoff E150d` in two; None where the name does not begin with a function and go on."""
    words = name.split()
    for count in range(min(_LONGEST, len(words) - 1), 0, -1):
        head = " ".join(words[:count])
        if fold(head) in FUNCTIONS:
            return head, " ".join(words[count:])
    return None


def akin(one: str, other: str) -> bool:
    """Tell whether an additive of the one function may stand under the other on a label."""
    return one == other or any(one in family and other in family for family in _FAMILIES)
