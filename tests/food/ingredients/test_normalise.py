"""Words of labels, whatever anybody wrote there."""

import unicodedata

import pytest

from spoils.food.ingredients.normalise import MOST_MARKS, clean, few_marks, fold


@pytest.mark.parametrize("pile", ["\u0300\u0327", "\u0327\u0300", "\u0344", "\u05b0"])
def test_a_pile_of_combining_marks_is_cut_before_it_is_normalised(pile: str) -> None:
    text = "a" + pile * 40_000 + "b"
    assert len(few_marks(text)) == MOST_MARKS + 2
    # U+0344 becomes two marks.
    assert len(clean(text)) <= 2 * MOST_MARKS + 2
    assert fold(text) == "ab"


@pytest.mark.parametrize("word", ["Säure", "żółć", "Crème brûlée", "Bún bò Huế", "สวัสดี", "ё"])
def test_words_of_languages_keep_their_marks(word: str) -> None:
    for form in ("NFC", "NFD"):
        assert clean(unicodedata.normalize(form, word)) == unicodedata.normalize("NFC", word)
