"""The fourteen allergens that the European Union makes labels declare, and the words they go by."""

import re

from spoils.food.ingredients.words import fold

#: Tag to the words that people use.
ALLERGENS = {
    "en:gluten": "gluten",
    "en:crustaceans": "crustaceans",
    "en:eggs": "eggs",
    "en:fish": "fish",
    "en:peanuts": "peanuts",
    "en:soybeans": "soybeans",
    "en:milk": "milk",
    "en:nuts": "nuts",
    "en:celery": "celery",
    "en:mustard": "mustard",
    "en:sesame-seeds": "sesame seeds",
    "en:sulphur-dioxide-and-sulphites": "sulphur dioxide and sulphites",
    "en:lupin": "lupin",
    "en:molluscs": "molluscs",
}

# A word with a star also begins longer words: German and Dutch write wheat flour as one.
_WORDS = {
    "en:gluten": "gluten wheat* rye barley oat oats oatmeal spelt kamut semolina couscous bulgur seitan triticale malt malted durum ble bles seigle orge avoine epeautre froment semoule weizen* roggen* gerste* hafer* dinkel* trigo cebada centeno avena espelta semola frumento grano orzo segale farro tarwe* rogge gerst haver* cevada centeio aveia пшеница пшенично пшеничен ечемик pszenica pszenna pszenny jeczmien zyto vete vetemjol rag grau قمح شعير",
    "en:crustaceans": "crustacean crustaceans shrimp shrimps prawn prawns crab crabs lobster crayfish langoustine crustace crustaces crevette crevettes crabe homard krebstiere* garnelen* krabben hummer crostacei gamberi gambero granchio crustaceos gamba gambas camaron camarones langostino langostinos cangrejo garnaal garnalen schaaldieren камарони ракообразни",
    "en:eggs": "egg eggs albumen ovalbumin oeuf oeufs ei eier* eigelb* eiweiss* vollei* huhnerei* uovo uova albume tuorlo huevo huevos eieren kippenei ovo ovos яйца яйце jaja jaj jajka agg oua ovoproduits بيض",
    "en:fish": "fish anchovy anchovies salmon tuna cod haddock mackerel sardine sardines herring trout hake pollock tilapia poisson poissons anchois saumon thon cabillaud maquereau colin hareng fisch* lachs* thunfisch* hering* forelle* kabeljau sardellen pesce acciughe acciuga salmone tonno merluzzo pescado pescados atun anchoa anchoas bacalao merluza vis visolie vissaus zalm tonijn peixe peixes atum риба ryba ryby peste سمك",
    "en:peanuts": "peanut peanuts groundnut groundnuts arachide arachides cacahuete cacahuetes cacahuetes cacahouete cacahouetes erdnuss* erdnusse* arachidi cacahuete cacahuetes mani pinda* pinda's pindas amendoim amendoins фъстъци фъстък orzeszki arahide jordnotter",
    "en:soybeans": "soy soya soybean soybeans tofu edamame soja* sojabohnen* soia soija соя соев соева soja sojowy sojowa صويا",
    "en:milk": "milk butter butterfat butteroil butterschmalz buttermilch butterreinfett cream cheese whey lactose casein caseinate caseinates yogurt yoghurt buttermilk ghee lactoserum lait laits laitier laitiers laitiere beurre creme fromage fromages yaourt petit-lait caseine caseinate babeurre milch* sahne* rahm kase* molke* vollmilch* magermilch* laktose* joghurt* quark* milcheiweiss* sussmolke* latte burro panna formaggio siero lattosio yogurt mozzarella parmesan mascarpone ricotta leche mantequilla nata queso quesos suero lactosa yogur lactea lacteo lacteos melk* boter* roomboter slagroom kaas* wei leite manteiga queijo queijos soro мляко млечен млечна суроватка mleko mleka smietana serwatka mjolk gradde lapte unt smantana zer حليب",
    "en:nuts": "nut nuts almond almonds hazelnut hazelnuts walnut walnuts cashew cashews pecan pecans pistachio pistachios macadamia amande amandes noisette noisettes noix mandel* haselnuss* haselnusse* walnuss* walnusse* cashewkerne pistazie* schalenobst schalenfruchte* schalenfruchten* nusse nussen mandorle mandorla nocciole nocciola noci noce pistacchi pistacchio anacardi almendra almendras avellana avellanas nuez nueces pistacho pistachos anacardo anacardos amandelen amandel hazelnoten hazelnoot noten walnoten amendoa amendoas avela avelas noz nozes лешници лешник бадеми бадем ядки орехи orzechy migdaly notter hasselnotter nuci alune migdale مكسرات لوز بندق",
    "en:celery": "celery celeriac celeri celeris sellerie* sedano apio selderij aipo целина seler selera selery selleri telina كرفس",
    "en:mustard": "mustard moutarde senf* senape mostaza mosterd* mostarda горчица gorczyca gorczycy senap mustar خردل",
    "en:sesame-seeds": "sesame tahini tahin sesam* sesamo sezam sezamowy sesamfro susan сусам gergelim سمسم",
    "en:sulphur-dioxide-and-sulphites": "sulphite sulphites sulfite sulfites sulphur sulfur metabisulphite metabisulfite sulfiti sulfitos sulfito solfiti sulfieten sulfiet schwefeldioxid* solforosa сулфити siarczyny sulfiter e220 e221 e222 e223 e224 e226 e227 e228",
    "en:lupin": "lupin lupins lupine* lupini lupino altramuz altramuces lupinen tremoco лупина lubin",
    "en:molluscs": "mollusc molluscs mollusk mollusks squid octopus mussel mussels clam clams oyster oysters scallop scallops cuttlefish mollusque mollusques moule moules huitre huitres calamar calmar calmars weichtiere* tintenfisch* muscheln molluschi calamari calamaro cozze vongole moluscos mejillon mejillones weekdieren мекотели",
}  # fmt: skip

# Taken out before words are looked at: what is named after an allergen and is none of it.
_NOT_SO = {
    fold(phrase): f" {fold(left)} "
    for phrase, left in {
        "cocoa butter": "", "beurre de cacao": "", "burro di cacao": "", "manteca de cacao": "", "manteiga de cacau": "",
        "unt de cacao": "", "какаово масло": "", "shea butter": "", "beurre de karite": "", "butter beans": "", "butter bean": "",
        "peanut butter": "peanut", "beurre de cacahuete": "cacahuete", "beurre de cacahuetes": "cacahuetes",
        "nut butter": "nut", "almond butter": "almond", "almond milk": "almond", "lait d'amande": "amande", "soy milk": "soy",
        "soya milk": "soya", "lait de soja": "soja", "oat milk": "oat", "rice milk": "", "coconut milk": "", "coconut cream": "",
        "lait de coco": "", "nata de coco": "", "creme de coco": "", "latte di cocco": "", "leche de coco": "", "leite de coco": "", "cream of tartar": "",
        "creme de tartre": "", "milk thistle": "", "noix de coco": "", "noce di cocco": "", "nuez de coco": "", "noix de muscade": "",
        "noce moscata": "", "nuez moscada": "", "noz moscada": "", "gluten free": "", "sans gluten": "", "senza glutine": "",
        "sin gluten": "", "sem gluten": "", "lactose free": "", "sans lactose": "", "senza lattosio": "", "sin lactosa": "",
        "ble noir": "", "ble sarrasin": "", "grano saraceno": "", "grano de cafe": "", "trigo sarraceno": "",
        "fruits a coque": "noix", "fruit a coque": "noix", "frutos secos": "nueces", "frutos de cascara": "nueces",
        "frutta a guscio": "noci", "frutos de casca rija": "nozes", "fructe cu coaja": "nuci", "anhydride sulfureux": "sulfite",
        "dioxyde de soufre": "sulfite", "dioxido de azufre": "sulfite", "anidride solforosa": "solfiti",
        "huile de noix": "noix", "creme brulee": "", "tiger nut": "", "water chestnut": "", "chestnut": "",
    }.items()
}  # fmt: skip
_PHRASE = re.compile(r"\b(?:" + "|".join(sorted(map(re.escape, _NOT_SO), key=len, reverse=True)) + r")\b")
_FREE_FROM = re.compile(
    r"\b(?:glutenfrei|laktosefrei|lactosevrij|glutenvrij|milchsaure|milchsauren|buttersaure|nussfrei)\w*"
)

_WHOLE = {word: tag for tag, words in _WORDS.items() for word in map(fold, words.split()) if word}
_STEMS = {fold(word): tag for tag, words in _WORDS.items() for word in words.split() if word.endswith("*")}
_SHORTEST, _LONGEST = min(map(len, _STEMS)), max(map(len, _STEMS))


def allergens_in(text: str) -> tuple[str, ...]:
    """The tags of the allergens that these words name, in the order of the words."""
    plain = _PHRASE.sub(lambda found: _NOT_SO[found.group()], _FREE_FROM.sub(" ", fold(text)))
    tags = (_tag_of(word) for word in plain.replace("'", " ").split())
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def _tag_of(word: str) -> str | None:
    if word in _WHOLE:
        return _WHOLE[word]
    lengths = range(min(_LONGEST, len(word)), _SHORTEST - 1, -1)
    return next((_STEMS[word[:n]] for n in lengths if word[:n] in _STEMS), None)
