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
uv run infer.py adapt --people photos/ --products shop/ --out ours.safetensors  # without labels
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

import io
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence

# Beside busy neighbours, spinning OpenMP threads make one photo cost 500 ms instead of 6.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from siamese.arguments import parse
from siamese.chosen import (
    catalog_of,
    checkpoint_of,
    comparison_of,
    device_of,
    encoder_of,
    garment_of,
)
from siamese.default_checkpoint import kept_encoder
from siamese.errors import UserError
from siamese.files import check_writable

FAILED, INTERRUPTED, BROKEN_PIPE = 1, 130, 141  # the latter two as shells give them


def index(arguments: Namespace) -> None:
    """Make a catalog."""
    from datasets.places import folder_photos, manifest_photos
    from siamese.commands import index

    if arguments.photos is not None:
        photos = folder_photos(arguments.photos, arguments.attributes)
    else:
        photos = manifest_photos(arguments.manifest)
    if arguments.encoder is not None:
        checkpoint, keep = encoder_of(arguments, photos), True
    else:
        checkpoint = checkpoint_of(arguments, many=True)
        own = kept_encoder(arguments.catalog)
        keep = own is not None and os.path.samefile(own, arguments.checkpoint)
    kept = checkpoint if keep else None
    told = index(
        arguments.catalog,
        checkpoint,
        photos,
        arguments.overwrite,
        arguments.max_broken,
        kept,
        arguments.keep_sights,
    )
    print(told)


def add(arguments: Namespace) -> None:
    """Add products, or put them in place of those with their ids."""
    from siamese.commands import embedded_products, parse_attributes
    from siamese.listing import ListedPhoto
    from siamese.storage import check_writer

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
        from datasets.places import manifest_photos

        text = [name for name, kind in catalog.attribute_types.items() if kind == "string"]
        photos = manifest_photos(arguments.manifest, text)
    check_writer(arguments.catalog)
    if arguments.command == "add":
        catalog.check_new(list({photo.product_id for photo in photos}))
    types = catalog.attribute_types
    comparison = checkpoint.comparison_of(catalog.comparison)
    products = embedded_products(checkpoint, photos, arguments.max_broken, types, comparison)
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
    from siamese.commands import photos_of, search, tell_uncompared
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
    tell_uncompared(rankings)
    threshold = finder.checkpoint.calibration.known_threshold
    # Before the pictures: what was found is not lost where one cannot be written.
    if arguments.json:
        print(rankings_as_json(rankings, threshold, arguments.vote))
    else:
        for line in rankings_as_text(rankings, threshold, arguments.vote, arguments.normalised):
            print(line)
    if arguments.sheet or arguments.explain:
        from siamese.pictures import save_explanation, save_sheet
    if arguments.sheet:
        save_sheet(arguments.sheet, rankings, threshold, arguments.vote, arguments.normalised)
    if arguments.explain:
        save_explanation(arguments.explain, finder, rankings, arguments.box)


def evaluate(arguments: Namespace) -> None:
    """Report on a split of a manifest."""
    from datasets.places import listed_at, people_at, sound_manifest
    from siamese.evaluation_commands import evaluate
    from siamese.other_products import distractors_of

    manifest = sound_manifest(arguments.manifest, arguments.split, arguments.max_broken)
    distractors = []
    if arguments.distractors is not None:
        sought = set(manifest.loc[manifest["split"] == arguments.split, "path"])
        listed = listed_at(arguments.distractors)
        distractors = distractors_of(listed, sought, arguments.distractor_limit)
    strangers = [] if arguments.strangers is None else people_at(arguments.strangers)
    checkpoint = checkpoint_of(arguments, many=True)
    reports = evaluate(
        checkpoint, manifest, arguments.split, arguments.max_broken, distractors, strangers
    )
    print(json.dumps(reports.as_dict(), indent=2) if arguments.json else reports)


def calibrate(arguments: Namespace) -> None:
    """Write an encoder whose score means something: a trained one, or several side by side."""
    from datasets.places import cohort_at, sound_manifest, training_products
    from siamese.cohort import FEWEST
    from siamese.evaluation_commands import calibrate

    check_writable(arguments.out)
    manifest = sound_manifest(arguments.manifest, arguments.split, arguments.max_broken)
    fitted = "eigenfaces" in arguments.encoder  # to the training's products
    training = []
    if fitted or arguments.cohort is None:
        training = training_products(arguments.manifest, arguments.split, arguments.max_broken)
    checkpoint = encoder_of(arguments, training if fitted else [])
    own = checkpoint.comparison
    checkpoint = checkpoint.looking(arguments.second_look, arguments.cut_out)
    checkpoint.comparison = own if arguments.comparison is None else comparison_of(arguments)
    cohort = training if len(training) >= FEWEST else None
    split, broken, limit = arguments.split, arguments.max_broken, arguments.cohort_limit
    if arguments.cohort is not None:
        held_out = (manifest["split"] != "train") | (manifest["split"] == split)
        cohort = cohort_at(arguments.cohort, set(manifest.loc[held_out, "path"]))
    calibrate(checkpoint, manifest, split, broken, cohort, limit)
    checkpoint.to("cpu").save(arguments.out)
    known, before = checkpoint.own_cohort, " as before" if cohort is None else ""
    beside = f", a cohort of {len(known.embeddings)} product photos{before}" if known else ""
    if checkpoint.comparison is not None:
        counts = checkpoint.comparison.weight
        beside += f", the best products compared, which counts {counts:.2g} where the cosine is 1"
    print(f"saved {arguments.out}: {checkpoint.embedding_size} numbers per photo{beside}")


def adapt(arguments: Namespace) -> None:
    """Fit an encoder to a shop's photos, without labels."""
    from datasets.places import listed_at, people_at
    from siamese.evaluation_commands import adapt

    check_writable(arguments.out)
    people = people_at(arguments.people, arguments.split)
    products = listed_at(arguments.products, arguments.split)
    given = checkpoint_of(arguments, many=True)
    adapted, worn, shown = adapt(given, people, products, arguments.max_broken)
    adapted.to("cpu").save(arguments.out)
    print(f"saved {arguments.out}: adapted to {worn} photos of people and {shown} product photos")


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
    from datasets.places import ids_of_test_split

    action = commands.train if arguments.action == "train" else commands.evaluate
    print(action(arguments, catalog, checkpoint, ids_of_test_split(arguments.split)))


def flag(arguments: Namespace) -> None:
    """Train or use the model of one column; no encoder is needed."""
    from datasets.places import ids_of_test_split
    from siamese.attributes import flag_commands as commands

    catalog = catalog_of(arguments)
    if arguments.action == "apply":
        print(commands.apply(arguments, catalog))
    else:
        print(commands.train(arguments, catalog, ids_of_test_split(arguments.split)))


def suggest(arguments: Namespace) -> None:
    """Variants of a product, what goes with it, or the candidates of each kind."""
    from siamese.recommend import commands

    show = {
        "variants": commands.show_variants,
        "complements": commands.show_complements,
        "candidates": commands.show_candidates,
    }
    print(show[arguments.command](arguments, catalog_of(arguments)))


def serve(arguments: Namespace) -> None:
    """Serve page and API until the process is told to end."""
    from siamese.serving.server import serve
    from siamese.serving.settings import settings_of

    device_of(arguments, many=False)
    serve(settings_of(arguments), arguments.host, arguments.port, arguments.workers)


def compare(arguments: Namespace) -> None:
    """Encoders side by side on labelled products."""
    from siamese.attributes.study_commands import compare_all, photos_of_folder, photos_of_manifest

    if os.path.isdir(arguments.source):
        from datasets.places import folder_photos

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


COMMANDS: dict[str, Callable[[Namespace], None]] = {
    "index": index,
    "add": add,
    "update": add,
    "remove": remove,
    "list": show,
    "search": search,
    "evaluate": evaluate,
    "calibrate": calibrate,
    "adapt": adapt,
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
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # of file names that are not UTF-8
    try:
        arguments = parse(words)
        if getattr(arguments, "json", False) and isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # as RFC 8259 wants it, whatever the locale
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
