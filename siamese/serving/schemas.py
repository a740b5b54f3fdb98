"""What goes in and out of the API, with examples for its document."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Form, Query
from pydantic import BaseModel, ConfigDict, Field

from siamese.isolation import CHOICES
from siamese.preprocessing import Box
from siamese.serving.queries import AUTO, WHOLE
from siamese.serving.tokens import LARGEST

MOST_RESULTS, MOST_LISTED = 100, 200
MOST_ATTRIBUTES, LONGEST_TEXT = 100, 2000
Value = bool | int | float | str
GARMENTS = (WHOLE, AUTO, *CHOICES)
TASTE = '{"never": {"baseColour": ["Yellow"]}, "likes": ["1163"], "dislikes": ["1164"]}'
FILTERS = '{"baseColour": ["Blue", "Navy Blue"], "price": {"lowest": 5, "highest": 20}}'

QUERY = "NWZ3NoyOxAcALAAs"  # real ones are longer
RequestId = Annotated[str, Field(description="Also in the log", examples=["0b1e6a"])]
Version = Annotated[int, Field(description="Of the catalog; grows", examples=[7])]

FiltersText = Annotated[
    str,
    Field(
        max_length=20_000,
        description="JSON: values or a range by column; see /v1/facets for what there is",
        examples=[FILTERS],
    ),
]
Top = Annotated[int, Field(ge=1, le=MOST_RESULTS, description="How many products", examples=[12])]
BoxText = Annotated[
    str,
    Field(
        max_length=100,
        description="x1,y1,x2,y2 in pixels of the upright photo: look at this part only",
        examples=["40,80,300,420"],
    ),
]
Token = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LARGEST,
        description="`query` of an earlier answer; the server keeps nothing of it",
        examples=[QUERY],
    ),
]
ProductId = Annotated[str, Field(min_length=1, max_length=500, examples=["4711"])]
TasteText = Annotated[
    str,
    Field(
        max_length=20_000,
        description="JSON: a person's profile with any of never, prefer, likes and dislikes",
        examples=[TASTE],
    ),
]
FilterQuery = Annotated[FiltersText, Query()]
FilterForm = Annotated[FiltersText, Form()]


class Strict(BaseModel):
    """What is sent to the API: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class RangeIn(Strict):
    """A filter on numbers, both ends included."""

    lowest: float | None = Field(None, allow_inf_nan=False)
    highest: float | None = Field(None, allow_inf_nan=False)


class ProductOut(BaseModel):
    """A product of the catalog."""

    product_id: str = Field(examples=["4711"])
    attributes: dict[str, Value] = Field(examples=[{"articleType": "Tshirts", "price": 19.9}])
    predicted: dict[str, float] = Field(
        description="Attributes that nobody gave but a tagger filled in, with their probability",
        examples=[{"articleType": 0.91}],
    )
    photos: int = Field(description="How many the catalog has", examples=[2])
    thumbnail: str = Field(
        description="Address of a picture; side may be 160, 320, 640 or 1280",
        examples=["/v1/thumbnails/4711?photo=0&side=320&v=1f0c9a5e"],
    )


class MatchOut(ProductOut):
    """A product as an answer."""

    rank: int = Field(examples=[1])
    probability: float | None = Field(
        description="That it is this very product; null if the encoder was not fitted to pairs",
        examples=[0.83],
    )
    likelihood: str | None = Field(
        description="The same in words", examples=["very likely this one"]
    )
    cosine: float = Field(examples=[0.71])
    not_predicted: bool = Field(description="Whether its label is another than the elected one")


class VoteOut(BaseModel):
    """The label that most of the matches have, weighted by likeness."""

    column: str = Field(examples=["articleType"])
    label: Value | None = Field(description="null if no match has one", examples=["Tshirts"])
    share: float = Field(description="Of the vote", examples=[0.85])


class GarmentOut(BaseModel):
    """A garment that was found in the photo."""

    group: str = Field(examples=["upper"])
    box: Box = Field(examples=[[38.0, 71.5, 305.2, 431.0]])
    confidence: float = Field(examples=[0.93])


class PhotoOut(BaseModel):
    """What was looked at in the photo."""

    width: int = Field(examples=[768])
    height: int = Field(examples=[1024])
    box: Box | None = Field(description="The part that was looked at; null for all of it")
    garments: list[GarmentOut]


class Answer(BaseModel):
    """The ranking for one query."""

    request_id: RequestId
    query: str = Field(
        description="Stands for the photo in GET /v1/search and in links", examples=[QUERY]
    )
    in_catalog: bool | None = Field(
        description="Whether the product is probably there at all; null if the encoder was not "
        "fitted to pairs"
    )
    probability: float | None = Field(description="Of that", examples=[0.9])
    verdict: str = Field(examples=["probably in this catalog"])
    matches: list[MatchOut]
    considered: int = Field(description="Products that the filters hold for", examples=[300])
    compared: int = Field(
        description="How many of the best products were compared with the photo once more",
        examples=[20],
    )
    uncompared: int = Field(
        description="How many of them could not be, since the catalog keeps nothing of their "
        "photos to compare by, and these cannot be read where it has them",
        examples=[0],
    )
    catalog_version: Version
    vote: VoteOut | None = Field(None, description="null where the shop votes on no column")
    photo: PhotoOut | None = None


class ProductList(BaseModel):
    """A page of products in order of their ids."""

    products: list[ProductOut]
    total: int = Field(description="Products that the filters hold for", examples=[300])
    next: str | None = Field(
        description="Cursor of the next page; null on the last one", examples=["NDcxMQ=="]
    )


class FacetValueOut(BaseModel):
    """A value of a column."""

    value: Value
    count: int


class FacetOut(BaseModel):
    """A column to filter by: its values, or the range of its numbers."""

    name: str = Field(examples=["baseColour"])
    values: list[FacetValueOut] = Field(examples=[[{"value": "Blue", "count": 41}]])
    lowest: float | None = Field(None, examples=[4.5])
    highest: float | None = Field(None, examples=[120.0])


class Facets(BaseModel):
    """All columns to filter by, with the counts that the other filters leave."""

    facets: list[FacetOut]
    total: int = Field(description="Products that all filters hold for", examples=[300])


class FeedbackIn(Strict):
    """What a customer says of a product."""

    product_id: ProductId
    verdict: Literal["more", "less", "right", "wrong"] = Field(
        description="More like it, less like it, this is it, this is not it", examples=["right"]
    )
    query: Token | None = None


class Noted(BaseModel):
    """Feedback is on the shop's disk."""

    request_id: RequestId


class ExplanationOut(BaseModel):
    """Photo and product, lit where they are alike; the same number marks what is alike."""

    photo: str = Field(description="JPEG, base64", examples=["/9j/4AAQSkZJRg=="])
    product: str = Field(
        description="JPEG, base64: the product's most alike photo", examples=["/9j/4AAQSkZJRg=="]
    )
    cosine: float = Field(examples=[0.71])
    exact: bool = Field(description="Whether the parts sum to the cosine")
    regions: int = Field(description="How many parts are numbered", examples=[3])


class Written(BaseModel):
    """A product that is on the disk and found from now on."""

    product: ProductOut
    created: bool
    catalog_version: Version


class TableRow(BaseModel):
    """One product of a table."""

    product_id: str = Field(examples=["4711"])
    path: str | None = Field(
        description="The table's own name of its photo", examples=["tops/4711.jpg"]
    )
    attributes: dict[str, Value] = Field(examples=[{"baseColour": "Blue", "price": 19.9}])


class TableOut(BaseModel):
    """A table as products; nothing is written by reading it."""

    rows: list[TableRow]


class SuggestionOut(ProductOut):
    """A product that goes with another one."""

    why: str = Field(description="The colour or category that it was chosen for", examples=["Blue"])
    cosine: float = Field(examples=[0.71])


class Suggestions(BaseModel):
    """Products that go with another one, best first."""

    suggestions: list[SuggestionOut]


class Health(BaseModel):
    """Whether this process answers, and with what."""

    status: Literal["ok", "old"] = Field(description="old: something newer cannot be used, see why")
    why: str | None = Field(None, examples=["catalog: was made by another encoder"])
    products: int = Field(examples=[300])
    catalog_version: Version
    encoder: str = Field(examples=["ffeb526f2cc85f93"])


class ColumnOut(BaseModel):
    """A column of labels, as `infer.py explore` sums it up."""

    name: str = Field(examples=["baseColour"])
    labels: int = Field(description="Different ones", examples=[41])
    most_common: str = Field(examples=["Black"])
    its_share: float = Field(examples=[0.22])
    imbalance: float = Field(description="Largest label / smallest", examples=[1870.0])
    rare: int = Field(description="Labels with under 10 products", examples=[7])


class Statistics(BaseModel):
    """The catalog in numbers."""

    products: int = Field(examples=[300])
    photos: int = Field(examples=[412])
    missing: dict[str, int] = Field(
        description="Products that lack an attribute", examples=[{"baseColour": 12}]
    )
    columns: list[ColumnOut] = Field(description="None where there is too little to sum up")
    facets: list[FacetOut]


class About(BaseModel):
    """What a page needs to know of this server."""

    title: str = Field(examples=["Corner shop"])
    captions: list[str] = Field(
        description="Attributes to show below a picture", examples=[["articleType", "price"]]
    )
    products: int = Field(examples=[300])
    finds_garments: bool
    compares: bool = Field(
        description="Whether the best products are compared with the photo once more, which an "
        "embedding cannot stand for"
    )
    has_variants: bool
    has_complements: bool
    uploads_kept_hours: float = Field(
        description="How long customers' photos stay; 0: they do not", examples=[0]
    )
