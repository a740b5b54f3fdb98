"""Catalogs and search: which product of a shop does the person in a photo wear?

uv run infer.py index --photos shop/ --attributes shop.csv   # make a catalog
uv run infer.py search person.jpg --where "articleType = 'Tshirts'" --sheet found.png
uv run infer.py search person.jpg --explain why.png
uv run infer.py search street.jpg --garment upper               # of what the person wears
uv run infer.py search --product 4711 --filter baseColour=Blue  # what is like that product
uv run infer.py add 4711 front.jpg back.jpg --set baseColour=Blue price=19.9
uv run infer.py update 4711 new.jpg
uv run infer.py remove 4711
uv run infer.py list --where "price < 20"
uv run infer.py evaluate manifest.csv
uv run infer.py calibrate manifest.csv --encoder a.safetensors+b.safetensors --out both.safetensors
uv run infer.py search person.jpg --never baseColour=Yellow --like 4711 --variety 0.3
uv run infer.py variants 4711                                    # the same in other colours
uv run infer.py complements 4711                                 # what goes with it
uv run infer.py candidates                                       # the medoid of each kind
uv run infer.py tagger train --columns gender season usage       # then evaluate, apply, predict
uv run infer.py flag train isFragile                             # any column from all that is known
uv run infer.py serve                                            # a page and an API
uv run infer.py compare manifest.csv --encoders siamese eigenfaces resnet18+resnet50
uv run infer.py explore --out exploration
"""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

# Beside busy neighbours, spinning OpenMP threads make one photo cost 500 ms instead of 6.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from siamese.arguments import parse
from siamese.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from siamese.catalog import Catalog
    from siamese.checkpoint import Checkpoint
    from siamese.garment_choice import GarmentChoice
    from siamese.listing import ListedPhoto
    from siamese.preprocessing import Box

FAILED, INTERRUPTED, BROKEN_PIPE = 1, 130, 141  # the latter two as shells give them


def index(arguments: Namespace) -> None:
    """Make a catalog."""
    from siamese.commands import index

    if arguments.photos is not None:
        photos = folder_photos(arguments.photos, arguments.attributes)
    else:
        photos = manifest_photos(arguments.manifest)
    named = arguments.encoder is not None
    checkpoint = encoder_of(arguments, photos) if named else checkpoint_of(arguments, many=True)
    kept = checkpoint if named else None
    print(
        index(
            arguments.catalog, checkpoint, photos, arguments.overwrite, arguments.max_broken, kept
        )
    )


def add(arguments: Namespace) -> None:
    """Add products, or put them in place of those with their ids."""
    from siamese.commands import embedded_products, parse_attributes
    from siamese.listing import ListedPhoto

    catalog = catalog_of(arguments)
    attributes = parse_attributes(arguments.settings, catalog)
    if arguments.manifest is None and not arguments.photos:
        catalog.set_attributes([arguments.product_id], attributes)
        print(f"{arguments.catalog}: attributes changed, {catalog.count()} products")
        return
    checkpoint = checkpoint_of(arguments, many=arguments.manifest is not None)
    catalog.check(checkpoint.fingerprint)
    photos = [
        ListedPhoto(os.path.abspath(photo), arguments.product_id, None, attributes)
        for photo in arguments.photos
    ]
    if arguments.manifest is not None:
        photos = manifest_photos(arguments.manifest)
    limit = 0.0 if arguments.manifest is None else arguments.max_broken
    products = embedded_products(checkpoint, photos, limit)
    (catalog.add if arguments.command == "add" else catalog.update)(products)
    print(f"{arguments.catalog}: {len(products)} written, {catalog.count()} products")


def remove(arguments: Namespace) -> None:
    """Remove products."""
    catalog = catalog_of(arguments)
    product_ids = list(dict.fromkeys(arguments.product_ids))
    catalog.remove(product_ids)
    print(f"{arguments.catalog}: {len(product_ids)} removed, {catalog.count()} products")


def show(arguments: Namespace) -> None:
    """List products."""
    from siamese.conditions import condition
    from siamese.output import products_as_json, products_as_text

    catalog = catalog_of(arguments)
    where = condition(catalog, arguments.filters, arguments.where)
    products = catalog.products(where, arguments.limit)
    print(products_as_json(products) if arguments.json else products_as_text(products))


def search(arguments: Namespace) -> None:
    """Rank the catalog for photos, or for one of its own products."""
    from siamese.commands import photos_of, search
    from siamese.conditions import check_columns, condition
    from siamese.finder import Finder
    from siamese.output import rankings_as_json, rankings_as_text
    from siamese.recommend.commands import personal
    from siamese.recommend.inventory import similar_products

    catalog = catalog_of(arguments)
    where = condition(catalog, arguments.filters, arguments.where)
    check_columns(catalog, arguments.vote, "--vote")
    finder = Finder(
        checkpoint_of(arguments),
        catalog,
        arguments.product_score,
        arguments.rerank,
        arguments.codes,
    )
    finder = personal(finder, arguments)
    if arguments.product is not None:
        rankings = [similar_products(finder, arguments.product, arguments.top, where)]
    else:
        rankings = search(
            finder,
            photos_of(arguments.photos),
            arguments.top,
            where,
            arguments.box,
            arguments.together,
            garment_of(arguments),
        )
    threshold = finder.checkpoint.calibration.known_threshold
    if arguments.sheet or arguments.explain:
        from siamese.pictures import save_explanation, save_sheet
    if arguments.sheet:
        save_sheet(arguments.sheet, rankings, threshold, arguments.vote, arguments.normalised)
    if arguments.explain:
        save_explanation(arguments.explain, finder, rankings, arguments.box)
    if arguments.json:
        print(rankings_as_json(rankings, threshold, arguments.vote))
        return
    for line in rankings_as_text(rankings, threshold, arguments.vote, arguments.normalised):
        print(line)


def evaluate(arguments: Namespace) -> None:
    """Report on a split of a manifest."""
    from siamese.evaluation_commands import distractors_of, evaluate

    manifest = sound_manifest(arguments.manifest, arguments.split, arguments.max_broken)
    distractors: list[ListedPhoto] = []
    if arguments.distractors is not None:
        sought = set(manifest.loc[manifest["split"] == arguments.split, "path"])
        listed = listed_at(arguments.distractors)
        distractors = distractors_of(listed, sought, arguments.distractor_limit)
    strangers = [] if arguments.strangers is None else strangers_at(arguments.strangers)
    checkpoint = checkpoint_of(arguments, many=True)
    reports = evaluate(
        checkpoint, manifest, arguments.split, arguments.max_broken, distractors, strangers
    )
    print(json.dumps(reports.as_dict(), indent=2) if arguments.json else reports)


def calibrate(arguments: Namespace) -> None:
    """Write an encoder whose score means something: a trained one, or several side by side."""
    from siamese.evaluation_commands import calibrate
    from siamese.listing import listed_in_manifest

    manifest = sound_manifest(arguments.manifest, arguments.split, arguments.max_broken)
    training = manifest[(manifest["split"] == "train") & (manifest["role"] == "product")]
    photos = listed_in_manifest(training) if len(training) else []
    checkpoint = encoder_of(arguments, photos)
    checkpoint.second_look = arguments.second_look
    calibrate(checkpoint, manifest, arguments.split, arguments.max_broken)
    checkpoint.to("cpu").save(arguments.out)
    print(f"saved {arguments.out}: {checkpoint.embedding_size} numbers per photo")


def tagger(arguments: Namespace) -> None:
    """Train, measure or use a tagger."""
    from siamese.attributes import tagger_commands as commands

    if arguments.action == "predict":
        print(commands.predict(arguments, checkpoint_of(arguments)))
        return
    catalog, checkpoint = catalog_of(arguments), checkpoint_of(arguments, many=True)
    if arguments.action == "apply":
        print(commands.apply(arguments, catalog, checkpoint))
        return
    action = commands.train if arguments.action == "train" else commands.evaluate
    print(action(arguments, catalog, checkpoint, test_ids_of(arguments.split)))


def flag(arguments: Namespace) -> None:
    """Train or use the model of one column; no encoder is needed."""
    from siamese.attributes import flag_commands as commands

    catalog = catalog_of(arguments)
    if arguments.action == "apply":
        print(commands.apply(arguments, catalog))
    else:
        print(commands.train(arguments, catalog, test_ids_of(arguments.split)))


def suggest(arguments: Namespace) -> None:
    """Variants of a product, what goes with it, or the candidates of each kind."""
    from siamese.recommend import commands

    show = {
        "variants": commands.show_variants,
        "complements": commands.show_complements,
        "candidates": commands.show_candidates,
    }
    print(show[arguments.command](arguments, catalog_of(arguments)))


def test_ids_of(manifest: str | None) -> frozenset[str] | None:
    """Products of a manifest's test split; None without one."""
    if manifest is None:
        return None
    from datasets.manifest import read_manifest

    rows = read_manifest(manifest)
    return frozenset(rows.loc[rows["split"] == "test", "product_id"])


def serve(arguments: Namespace) -> None:
    """Serve page and API until the process is told to end."""
    from siamese.serving.server import serve
    from siamese.serving.settings import settings_of

    serve(settings_of(arguments), arguments.host, arguments.port, arguments.workers)


def compare(arguments: Namespace) -> None:
    """Encoders side by side on labelled products."""
    from siamese.attributes.study_commands import compare_all, photos_of_folder, photos_of_manifest

    if os.path.isdir(arguments.source):
        photos = photos_of_folder(folder_photos(arguments.source, arguments.attributes))
    else:
        from datasets.manifest import read_manifest

        frame = read_manifest(arguments.source)
        photos = photos_of_manifest(frame, arguments.split, arguments.among)
    print(compare_all(arguments, photos, device_of(arguments, many=True)))


def explore(arguments: Namespace) -> None:
    """Labels, clusters and a map of a catalog."""
    from siamese.attributes.study_commands import explore

    print(explore(arguments, catalog_of(arguments)))


def catalog_of(arguments: Namespace) -> Catalog:
    """The catalog, opened."""
    from siamese.catalog import Catalog

    return Catalog.open(arguments.catalog)


def checkpoint_of(arguments: Namespace, many: bool = False) -> Checkpoint:
    """The checkpoint on its device: with `many` photos to embed, on a GPU if there is one."""
    device = device_of(arguments, many)
    from siamese.checkpoint import load_checkpoint

    return load_checkpoint(arguments.checkpoint, device)


def encoder_of(arguments: Namespace, photos: Sequence[ListedPhoto]) -> Checkpoint:
    """The encoder that `--encoder` names, on its device."""
    device = device_of(arguments, many=True)
    from siamese.extractors import Sample, extractor

    sample = Sample([photo.path for photo in photos], [photo.box for photo in photos])
    return extractor(arguments.encoder, sample, arguments.tolerance).to(device)


def device_of(arguments: Namespace, many: bool) -> str:
    """Where to compute, checked."""
    from siamese.runtime import keep_freed_memory

    if many:
        keep_freed_memory()  # a fifth more photos per second
    import torch

    device: str = arguments.device or ("cuda" if many and torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: cannot be used here; try cpu") from error
    return device


def listed_at(place: str) -> list[ListedPhoto]:
    """The product photos of a folder or of a manifest file."""
    return folder_photos(place, None) if os.path.isdir(place) else manifest_photos(place)


def strangers_at(place: str) -> list[tuple[str, Box | None]]:
    """The photos of a folder, or those of people in a table, with the part to look at."""
    if not place.lower().endswith(".csv"):
        from siamese.listing import photos_in

        return [(photo, None) for photo in photos_in(place)]
    from datasets.manifest import read_photo_table
    from siamese.boxes import boxes_of

    table = read_photo_table(place)
    people = table[table["role"] == "person"]
    if people.empty:
        raise UserError(f"{place}: no row of role person; strangers are photos of people")
    return list(zip(people["path"], boxes_of(people), strict=True))


def sound_manifest(path: str, split: str, max_broken: float) -> pd.DataFrame:
    """A manifest that training would take, without rows of the split whose box is unusable.

    The photos themselves are looked at when they are embedded.
    """
    from datasets.manifest import (
        ManifestError,
        describe_faults,
        drop_broken_photos,
        find_faults,
        read_manifest,
    )

    manifest = read_manifest(path)
    faults = find_faults(manifest, check_files=False)
    concerned = manifest["split"].iloc[faults["row"]].to_numpy() == split
    faults = faults[concerned | (faults["kind"] == "table")]
    if (faults["kind"] == "table").any():
        raise ManifestError(describe_faults(faults))
    kept, dropped = drop_broken_photos(manifest, faults, limit=max_broken)
    for photo in dropped.itertuples():
        print(f"skipped row {photo.row}, {photo.path}: {photo.fault}", file=sys.stderr)
    return kept


def garment_of(arguments: Namespace) -> GarmentChoice | None:
    """What finds the garment that a search is for; None where all of the photo or a box is."""
    if arguments.garment is None:
        return None
    if arguments.box is not None:
        print("infer.py: --box is given, so --garment is not looked for", file=sys.stderr)
        return None
    from siamese.garment_choice import GarmentChoice, load_finder_of_garments

    isolation = load_finder_of_garments(arguments.isolation, arguments.isolation_weights)
    return GarmentChoice(isolation, arguments.garment, arguments.remove_background)


def manifest_photos(path: str) -> list[ListedPhoto]:
    """The product photos of a manifest file."""
    from datasets.manifest import read_manifest
    from siamese.listing import listed_in_manifest

    return listed_in_manifest(read_manifest(path))


def folder_photos(folder: str, attributes: str | None) -> list[ListedPhoto]:
    """The photos of a folder with the attributes of a CSV."""
    from datasets.manifest import read_csv_as_text, with_numbers
    from siamese.listing import listed_in_folder
    from siamese.products import listed

    if attributes is None:
        return listed_in_folder(folder)
    table = read_csv_as_text(attributes)
    if "product_id" not in table:  # renamed first, so that 000001 stays text
        table = table.rename(columns={"id": "product_id"})
    photos = listed_in_folder(folder, with_numbers(table))
    without = sorted(set(table["product_id"].dropna()) - {photo.product_id for photo in photos})
    if without:
        print(f"{attributes}: no photo of {listed(without)}, left out", file=sys.stderr)
    return photos


COMMANDS: dict[str, Callable[[Namespace], None]] = {
    "index": index,
    "add": add,
    "update": add,
    "remove": remove,
    "list": show,
    "search": search,
    "evaluate": evaluate,
    "calibrate": calibrate,
    "tagger": tagger,
    "flag": flag,
    "variants": suggest,
    "complements": suggest,
    "candidates": suggest,
    "serve": serve,
    "compare": compare,
    "explore": explore,
}


def main(words: Sequence[str]) -> int:
    """Exit status; what a user can mend is one line on stderr."""
    try:
        arguments = parse(words)
        COMMANDS[arguments.command](arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # a reader such as `head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except (UserError, OSError) as error:
        print(f"infer.py: {error}", file=sys.stderr)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
