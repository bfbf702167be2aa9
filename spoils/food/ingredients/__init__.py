"""What is in a product: a pure analysis of what was fetched, of its parsed list or else of its text."""

from spoils.food.ingredients.analysis import analyse
from spoils.food.ingredients.model import Additive, Analysis, Ingredient, Named

__all__ = ["Additive", "Analysis", "Ingredient", "Named", "analyse"]
