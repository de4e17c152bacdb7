"""The paper's experiments: each a recipe, a result in numbers, a figure and a paragraph."""
