"""Common ingredients as labels call them, for products whose list nobody has parsed yet.

A modest set: what is not here is told as not recognised, never guessed.
"""

from dataclasses import dataclass

from spoils.food.ingredients.words import fold


@dataclass(frozen=True)
class Known:
    """What is known of one ingredient; the words are those of the taxonomy."""

    id: str
    vegan: str | None
    vegetarian: str | None
    palm_oil: str | None


# id | vegan, vegetarian: y(es) n(o) m(aybe) ? (depends) | names
_ROWS = """
en:water|yy|water, eau, wasser, agua, acqua, water, água, вода, woda, apă, vatten, ماء, drinking water, trinkwasser, eau potable
en:carbonated-water|yy|carbonated water, sparkling water, eau gazéifiée, eau gazeuse, kohlensäurehaltiges wasser, agua carbonatada, agua gasificada, acqua gassata, koolzuurhoudend water, газирана вода, apă carbogazoasă, ماء غازي, água gaseificada, kolsyrat vatten
en:sugar|yy|sugar, sucre, zucker, azúcar, zucchero, suiker, açúcar, захар, cukier, zahăr, socker, سكر, сахар, sukker, sokeri, sugars
en:cane-sugar|yy|cane sugar, sucre de canne, rohrzucker, azúcar de caña, zucchero di canna, rietsuiker, raw cane sugar
en:brown-sugar|yy|brown sugar, cassonade, brauner zucker, azúcar moreno
en:invert-sugar|yy|invert sugar, invert sugar syrup, sirop de sucre inverti, invertzuckersirup, azúcar invertido, zucchero invertito
en:glucose|yy|glucose, dextrose, traubenzucker, glucosa, glucosio, destrosio, dextrosa
en:fructose|yy|fructose, fruktose, fructosa, fruttosio
en:glucose-syrup|yy|glucose syrup, sirop de glucose, glukosesirup, jarabe de glucosa, sciroppo di glucosio, glucosestroop, glucose sirup, corn syrup
en:glucose-fructose-syrup|yy|glucose-fructose syrup, sirop de glucose-fructose, glukose-fruktose-sirup, jarabe de glucosa y fructosa, jarabe de glucosa-fructosa, sciroppo di glucosio-fruttosio, high fructose corn syrup, фруктозо-глюкозен сироп, fructose-glucose syrup, sirop de fructose-glucose
en:maltodextrin|yy|maltodextrin, maltodextrine, maltodextrina, maltodextrins, malto-dextrin, corn maltodextrin, maltodextrine de maïs
en:salt|yy|salt, sel, salz, sal, sale, zout, сол, sól, sare, соль, kochsalz, speisesalz, iodised salt, ملح, suola, sel de cuisine
en:sea-salt|yy|sea salt, sel marin, sel de mer, meersalz, sal marina, sale marino, zeezout, sal marinha
en:rice|yy|rice, riz, reis, arroz, riso, rijst, ориз, ryż, orez, white rice
en:rice-flour|yy|rice flour, farine de riz, reismehl, harina de arroz, farina di riso, rijstmeel
en:flour|yy|flour, farine, mehl, harina, farina, farinha, брашно
en:wheat-flour|yy|wheat flour, farine de blé, farine de froment, weizenmehl, harina de trigo, farina di frumento, farina di grano tenero, tarwebloem, tarwemeel, пшенично брашно, mąka pszenna, făină de grâu, fortified wheat flour, enriched wheat flour, enriched flour
en:whole-wheat-flour|yy|whole wheat flour, wholemeal wheat flour, wholewheat flour, farine complète de blé, farine de blé complet, farine de blé complète, weizenvollkornmehl, harina integral de trigo, farina integrale di frumento
en:wheat|yy|wheat, blé, weizen, trigo, frumento, grano, tarwe
en:wheat-gluten|yy|wheat gluten, gluten de blé, weizengluten, gluten de trigo, glutine di frumento, tarwegluten, vital wheat gluten, gluten
en:wheat-starch|yy|wheat starch, amidon de blé, weizenstärke, almidón de trigo, amido di frumento
en:durum-wheat-semolina|yy|durum wheat semolina, semoule de blé dur, hartweizengrieß, semola di grano duro, sémola de trigo duro
en:wheat-germ|yy|wheat germ, germe de blé, weizenkeime
en:wheat-bran|yy|wheat bran, son de blé, weizenkleie
en:rye-flour|yy|rye flour, farine de seigle, roggenmehl
en:oat|yy|oats, oat, avoine, hafer, avena, haver
en:oat-flakes|yy|oat flakes, rolled oats, flocons d'avoine, haferflocken, copos de avena, fiocchi di avena
en:barley-malt|yy|barley malt, malt d'orge, gerstenmalz, malta de cebada, malto d'orzo
en:barley-malt-extract|yy|barley malt extract, malt extract, extrait de malt d'orge, gerstenmalzextrakt
en:corn|yy|corn, maize, maïs, mais, maíz, granturco, sweetcorn
en:cornmeal|yy|corn flour, cornmeal, maize flour, farine de maïs, maismehl, harina de maíz, farina di mais
en:corn-starch|yy|corn starch, cornstarch, maize starch, cornflour, amidon de maïs, maisstärke, almidón de maíz, amido di mais, maïszetmeel
en:modified-corn-starch|yy|modified corn starch, modified maize starch, amidon modifié de maïs, modifizierte maisstärke
en:starch|yy|starch, amidon, stärke, almidón, amido, zetmeel, fécule, скорбяла, skrobia
en:modified-starch|yy|modified starch, amidon modifié, modifizierte stärke, almidón modificado, amido modificato, gemodificeerd zetmeel, modified food starch, amidon transformé
en:potato-starch|yy|potato starch, fécule de pomme de terre, kartoffelstärke, almidón de patata, fecola di patate, aardappelzetmeel
en:potato|yy|potato, potatoes, pomme de terre, pommes de terre, kartoffeln, patata, patatas, patate, aardappelen, картофи
en:tomato|yy|tomato, tomatoes, tomate, tomates, tomaten, pomodoro, pomodori, домати
en:tomato-puree|yy|tomato puree, tomato paste, purée de tomates, tomatenmark, concentré de tomates, concentrato di pomodoro
en:onion|yy|onion, onions, oignon, oignons, zwiebel, zwiebeln, cebolla, cipolla, ui, uien, лук
en:onion-powder|yy|onion powder, oignon en poudre, zwiebelpulver, poudre d'oignon, cebolla en polvo
en:green-onion|yy|green onion, green onions, spring onion, scallion, ciboule, frühlingszwiebel
en:garlic|yy|garlic, ail, knoblauch, ajo, aglio, knoflook, чесън
en:garlic-powder|yy|garlic powder, ail en poudre, knoblauchpulver, ajo en polvo
en:carrot|yy|carrot, carrots, carotte, carottes, karotten, möhren, zanahoria, carote
en:paprika|yy|paprika, pimentón, paprica
en:spice|yy|spice, spices, épice, épices, gewürz, gewürze, especia, especias, spezie, specerijen, подправки, przyprawy, condimente
en:herb|yy|herbs, herb, kräuter, herbes, aromatic herbs, plantes aromatiques
en:pepper|yy|pepper, black pepper, poivre, poivre noir, pfeffer, schwarzer pfeffer, pimienta, pimienta negra, pepe, pepe nero, peper
en:turmeric|yy|turmeric, curcuma, kurkuma, cúrcuma
en:cinnamon|yy|cinnamon, cannelle, zimt, canela, cannella
en:ginger|yy|ginger, gingembre, ingwer, jengibre, zenzero
en:parsley|yy|parsley, persil, petersilie, perejil, prezzemolo
en:vanilla|yy|vanilla, vanille, vainilla, vaniglia
en:vanilla-extract|yy|vanilla extract, extrait de vanille, vanilleextrakt
en:vanillin|yy|vanillin, vanilline, vainillina, vanillina
en:mustard|yy|mustard, moutarde, senf, mostaza, senape
en:mustard-seed|yy|mustard seed, mustard seeds, graines de moutarde, senfkörner, senfsaat
en:vinegar|yy|vinegar, vinaigre, essig, vinagre, aceto, azijn, spirit vinegar, branntweinessig, vinaigre d'alcool
en:yeast|yy|yeast, levure, hefe, levadura, lievito, gist, мая
en:yeast-extract|yy|yeast extract, extrait de levure, hefeextrakt, extracto de levadura, estratto di lievito, gistextract
en:cocoa|yy|cocoa, cacao, kakao, какао
en:cocoa-powder|yy|cocoa powder, cacao en poudre, poudre de cacao, kakaopulver, cacao en polvo, cacao in polvere, cacaopoeder, какао на прах
en:fat-reduced-cocoa|yy|fat reduced cocoa, fat-reduced cocoa powder, reduced-fat cocoa powder, cacao maigre, cacao maigre en poudre, fettarmer kakao, cacao magro, cacao desgrasado, magere cacao, fettarmes kakaopulver
en:cocoa-butter|yy|cocoa butter, beurre de cacao, kakaobutter, manteca de cacao, burro di cacao, cacaoboter, какаово масло
en:cocoa-paste|yy|cocoa mass, cocoa paste, cocoa liquor, chocolate liquor, pâte de cacao, kakaomasse, pasta de cacao, pasta di cacao, massa di cacao, cacaomassa
en:coffee|yy|coffee, café, kaffee, caffè, koffie
en:caffeine|yy|caffeine, caféine, koffein, cafeína, caffeina, cafeïne, cafeina, кофеин, quinine and caffeine, kofeina
en:quinine|yy|quinine, natural quinine, chinin, quinina, chinina
en:palm-oil|yyP|palm oil, huile de palme, palmöl, aceite de palma, olio di palma, palmolie, палмово масло, óleo de palma, olej palmowy, ulei de palmier, palm fat, graisse de palme, palmfett, grasa de palma, grasso di palma
en:palm-kernel-oil|yyP|palm kernel oil, huile de palmiste, palmkernöl, aceite de palmiste, olio di palmisto, palmkernfett, graisse de palmiste
en:sunflower-oil|yyN|sunflower oil, huile de tournesol, sonnenblumenöl, aceite de girasol, olio di girasole, olio di semi di girasole, zonnebloemolie, слънчогледово масло, óleo de girassol, olej słonecznikowy, ulei de floarea soarelui
en:colza-oil|yyN|rapeseed oil, canola oil, colza oil, huile de colza, rapsöl, aceite de colza, olio di colza, raapzaadolie, koolzaadolie
en:soya-oil|yyN|soybean oil, soya oil, huile de soja, sojaöl, aceite de soja, olio di soia
en:olive-oil|yyN|olive oil, extra virgin olive oil, huile d'olive, huile d'olive vierge extra, olivenöl, aceite de oliva, olio di oliva, olio extravergine di oliva, olijfolie
en:coconut-oil|yyN|coconut oil, huile de coco, huile de noix de coco, kokosöl, aceite de coco, kokosfett
en:corn-oil|yyN|corn oil, huile de maïs, maiskeimöl
en:shea-butter|yyN|shea butter, shea, karité, beurre de karité, karitébutter
en:vegetable-oil|yy?|vegetable oil, vegetable oils, huile végétale, huiles végétales, pflanzenöl, pflanzliche öle, aceite vegetal, aceites vegetales, oli vegetali, olio vegetale, plantaardige oliën
en:vegetable-fat|yy?|vegetable fat, vegetable fats, matière grasse végétale, matières grasses végétales, graisse végétale, graisses végétales, pflanzenfett, pflanzliche fette, grasa vegetal, grasas vegetales, grassi vegetali, plantaardige vetten
en:margarine|mm?|margarine, margarina
en:peanut|yy|peanut, peanuts, roasted peanuts, cacahuète, cacahuètes, arachide, arachides, erdnüsse, erdnuss, cacahuete, cacahuetes, arachidi, pinda's
en:almond|yy|almond, almonds, amande, amandes, mandeln, almendras, mandorle, amandelen
en:hazelnut|yy|hazelnut, hazelnuts, noisette, noisettes, haselnüsse, avellanas, nocciole, hazelnoten, лешници, orzechy laskowe
en:walnut|yy|walnuts, walnut, noix, walnüsse, nueces, noci
en:cashew-nuts|yy|cashew, cashews, cashew nuts, noix de cajou, cashewkerne, anacardi, anacardos
en:soya-bean|yy|soybeans, soya beans, soybean, fèves de soja, sojabohnen, soja, soia, soy, soya
en:soy-protein|yy|soy protein, soya protein, protéines de soja, sojaprotein, proteína de soja
en:hydrolysed-soy-protein|yy|hydrolyzed soy protein, hydrolysed soy protein, hydrolysed soya protein
en:sesame|yy|sesame, sesame seeds, sésame, graines de sésame, sesam, sésamo, sesamo
en:fruit|yy|fruit, fruits, früchte, frutas, frutta
en:apple|yy|apple, apples, pomme, pommes, apfel, äpfel, manzana, mele
en:apple-juice|yy|apple juice, jus de pomme, apfelsaft
en:strawberry|yy|strawberries, strawberry, fraise, fraises, erdbeeren, fresas, fragole
en:orange-juice|yy|orange juice, jus d'orange, orangensaft, zumo de naranja, succo d'arancia
en:concentrated-orange-juice|yy|concentrated orange juice, orange juice from concentrate, orange juice concentrate, jus d'orange concentré, jus d'orange à base de concentré, orangensaftkonzentrat, مركز عصير البرتقال
en:lemon-juice|yy|lemon juice, jus de citron, zitronensaft, zumo de limón, succo di limone
en:concentrated-lemon-juice|yy|concentrated lemon juice, lemon juice concentrate, lemon juice from concentrate, jus de citron concentré
en:raisin|yy|raisins, raisins secs, rosinen, pasas, uvetta
en:coconut|yy|coconut, noix de coco, kokosnuss, coco, cocco, kokosraspeln
en:chicory-fibre|yy|chicory fibre, inulin, inuline, oligofructose, inulina
en:flavouring|mm|flavouring, flavourings, flavoring, flavor, flavors, flavour, flavours, flavorings, arôme, arômes, aroma, aromen, aromas, aromi, aroma's, ароматизанти, ароматизант, arome, artificial flavor, artificial flavors, artificial flavouring, aromat, نكهات, aromă, aromaty
en:natural-flavouring|mm|natural flavouring, natural flavourings, natural flavoring, natural flavorings, natural flavor, natural flavors, natural flavour, natural flavours, arôme naturel, arômes naturels, natürliches aroma, natürliche aromen, aroma natural, aromas naturales, aroma naturale, aromi naturali, aromas naturais, естествени ароматизанти, arome naturale, natuurlijk aroma, natuurlijke aroma's, نكهات طبيعية, natural flavoring substances
en:caffeine-flavour|mm|caffeine flavour, caffeine flavor, arôme caféine, aroma koffein, aroma caffeina, aroma cafeína, ароматизант кофеин, aromă cafeină, aroma cafeina
en:plant-extract|yy|plant extracts, vegetable extracts, extraits végétaux, pflanzenextrakte, extractos vegetales, estratti vegetali, extraits de plantes
en:acerola-juice|yy|acerola extract, extrait d'acérola, acerola
en:caramel|??|caramel, karamell, caramello, caramelo
en:milk|ny|milk, lait, milch, leche, latte, melk, leite, мляко, mleko, lapte, whole milk, lait entier, vollmilch, cow's milk, حليب
en:skimmed-milk|ny|skimmed milk, skim milk, lait écrémé, magermilch, leche desnatada, latte scremato
en:skimmed-milk-powder|ny|skimmed milk powder, skim milk powder, dried skimmed milk, lait écrémé en poudre, lait en poudre écrémé, poudre de lait écrémé, magermilchpulver, leche desnatada en polvo, latte scremato in polvere, magere melkpoeder, обезмаслено мляко на прах, сухо мляко
en:milk-powder|ny|мляко на прах, milk solids, milk powder, lait en poudre, milchpulver
en:whole-milk-powder|ny|whole milk powder, dried whole milk, lait entier en poudre, poudre de lait entier, vollmilchpulver, leche entera en polvo, latte intero in polvere
en:whey|n?|whey, lactosérum, molke, suero de leche, siero di latte, wei
en:whey-powder|n?|whey powder, dried whey, lactosérum en poudre, poudre de lactosérum, petit-lait en poudre, molkenpulver, süßmolkenpulver, suero de leche en polvo, siero di latte in polvere, weipoeder, суроватка на прах, sweet whey powder
en:lactose|ny|lactose, laktose, milchzucker, lactosa, lattosio
en:milk-proteins|ny|milk protein, milk proteins, protéines de lait, milcheiweiß, proteínas de leche, proteine del latte
en:butter|ny|butter, beurre, mantequilla, burro, boter, roomboter
en:butterfat|ny|butterfat, butteroil, anhydrous milk fat, milk fat, beurre concentré, beurre pâtissier, butterreinfett, matière grasse laitière, matière grasse de lait anhydre, grasa láctea anhidra, burro anidro
en:cream|ny|cream, crème, sahne, rahm, nata, panna, crème fraîche, crème de lait
en:cheese|n?|cheese, fromage, käse, queso, formaggio, kaas, emmental, mozzarella, cheddar, parmesan
en:yogurt|n?|yogurt, yoghurt, yaourt, joghurt, yogur
en:egg|ny|egg, eggs, œuf, œufs, ei, eier, huevo, huevos, uovo, uova, яйца, whole egg, whole eggs, œufs entiers, vollei, œufs frais, free range eggs
en:egg-white|ny|egg white, egg whites, blanc d'œuf, blancs d'œufs, eiklar, eiweiß, clara de huevo, albume
en:egg-yolk|ny|egg yolk, egg yolks, jaune d'œuf, jaunes d'œufs, eigelb, yema de huevo, tuorlo d'uovo
en:honey|ny|honey, miel, honig, miele, honing, мед, mel
en:gelatin|nn|gelatin, gelatine, gélatine, gelatina, pork gelatine, gelatine bovine, rindergelatine, schweinegelatine, beef gelatin, pork gelatin
en:beef|nn|beef, bœuf, viande de bœuf, rindfleisch, carne de vacuno, manzo
en:pork|nn|pork, porc, viande de porc, schweinefleisch, carne de cerdo, carne di suino, maigre de porc
en:pork-fat|nn|pork fat, lard, gras de porc, speck, schweinespeck, saindoux, schweineschmalz, manteca de cerdo, strutto
en:chicken|nn|chicken, poulet, viande de poulet, hähnchenfleisch, hühnerfleisch, pollo, carne de pollo, chicken breast, filet de poulet
en:turkey|nn|turkey, dinde, putenfleisch, pavo, tacchino
en:ham|nn|ham, jambon, schinken, jamón, prosciutto
en:bacon|nn|bacon, lardons
en:fish|nn|fish, poisson, fisch, pescado, pesce, vis
en:tuna|nn|tuna, thon, thunfisch, atún, tonno
en:salmon|nn|salmon, saumon, lachs, salmón, salmone
en:anchovy|nn|anchovies, anchovy, anchois, sardellen, anchoas, acciughe
en:shrimp|nn|shrimp, shrimps, prawns, crevette, crevettes, garnelen, gambas, gamberi
en:coconut-milk|yy|coconut milk, lait de coco, kokosmilch, leche de coco, latte di cocco
en:peanut-butter|yy|peanut butter, beurre de cacahuète, erdnussbutter
en:buckwheat-flour|yy|buckwheat flour, farine de sarrasin, buchweizenmehl
en:nutmeg|yy|nutmeg, noix de muscade, muskatnuss
en:calcium|yy|calcium
en:iron|yy|iron, fer, eisen, hierro, ferro
en:niacin|yy|niacin, niacine, vitamin b3
en:thiamin|yy|thiamin, thiamine, vitamin b1
en:folic-acid|yy|folic acid, acide folique, folsäure
en:vitamin-d|my|vitamin d, vitamin d3, vitamine d
en:vitamin-b12|yy|vitamin b12, vitamine b12
en:vitamins|my|vitamins, vitamines, vitamine
en:minerals|yy|minerals, minéraux
en:lactic-ferments|my|lactic cultures, lactic ferments, ferments lactiques, milchsäurekulturen, fermentos lácticos, fermenti lattici
en:alcohol|yy|alcohol, alcool, alkohol, ethanol
"""

_ANSWERS = {"y": "yes", "n": "no", "m": "maybe", "?": "maybe", "P": "yes", "N": "no"}


def _read(row: str) -> tuple[Known, list[str]]:
    name, marks, names = row.split("|")
    vegan, vegetarian, *palm = (_ANSWERS[mark] for mark in marks)
    return Known(name, vegan, vegetarian, palm[0] if palm else None), names.split(", ")


_ENTRIES = [_read(row) for row in _ROWS.strip().splitlines()]
_BY_NAME = {fold(name): known for known, names in reversed(_ENTRIES) for name in names}


def look_up(name: str) -> Known | None:
    """What is known of an ingredient of this name."""
    return _BY_NAME.get(fold(name))
