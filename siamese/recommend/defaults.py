"""Columns that are looked at unless others are named: those of Fashion Product Images."""

LABEL = "gender+articleType"  # a kind of product: system 4's derivedType
CATEGORY = "subCategory"  # what complements and narrowing go by
SAME = ("gender", "articleType")  # of variants
DIFFERENT = "baseColour"
