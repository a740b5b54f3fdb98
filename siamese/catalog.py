"""The products' embeddings and attributes in a Lance table that many processes may share.

A catalog is a folder, or a URI of object storage, with one table: a row per product photo. Every
add, update and remove is one commit: readers see all of it or nothing, also after a kill.
Neither PyTorch nor a checkpoint is needed to list or remove products.

Shapes: D embedding size.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from siamese.catalog_filter import IDS_PER_QUERY, attributes_of, brief, ids_in, query
from siamese.products import (
    EMBEDDING,
    KEY,
    PATH,
    PRODUCT,
    RESERVED,
    SIGHT,
    CatalogError,
    Product,
    StorageError,
    attribute_types,
    given_by_people,
    listed,
    table_of,
    with_attributes,
)
from siamese.snapshot import COMPARISON, FINGERPRINT, Snapshot, known_as, read_snapshot
from siamese.storage import (
    LANCE_ERRORS,
    Stamp,
    add_columns,
    commit,
    connect,
    data_files,
    folder_of,
    no_catalog,
    one_writer,
    stamp,
    tables_of,
    tidy,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Catalog", "CatalogError", "Product", "Snapshot"]

TABLE = "photos"
DATA_FILES = 64  # more than that are joined; every add leaves one
VERSIONS = 64  # each of these, old ones are dropped
Result = TypeVar("Result")


class Catalog:
    """An open catalog, from `Catalog.create` or `Catalog.open`. Threads may share it.

    Args:
        uri: Where it is, for messages.
        database: LanceDB connection to it.
    """

    def __init__(self, uri: str, database: Any) -> None:
        self.uri = uri
        self._database = database
        self._table = database.open_table(TABLE)
        self._snapshot: Snapshot | None = None
        self._stamp: Stamp = ()  # when it was read
        self._guard = threading.Lock()
        made_by = self._made_by()
        if made_by is None:
            raise CatalogError(f"{uri}: holds a table of another program; name another --catalog")
        self.fingerprint = made_by
        # Of the comparison whose sights are kept, and which products that come shall bring.
        self.comparison = known_as(COMPARISON, self._table)
        self.embedding_size = int(self._table.schema.field(EMBEDDING).type.list_size)

    @classmethod
    def create(
        cls,
        uri: str | Path,
        fingerprint: str,
        embedding_size: int,
        products: Sequence[Product] = (),
        overwrite: bool = False,
        comparison: str | None = None,
    ) -> Catalog:
        """Make a catalog with these products in one commit.

        Args:
            uri: A folder, or a URI of object storage that LanceDB knows (s3://…, gs://…).
            fingerprint: Of the encoder that made the embeddings.
            embedding_size: D.
            products: What it shall hold from the beginning.
            overwrite: Whether to replace a catalog that is there; it stays until the commit.
            comparison: Fingerprint of the comparison whose sights it keeps; `None` for none.

        Raises:
            CatalogError: It exists already, a product cannot be used, or nothing can be written.
        """
        uri = str(uri)
        types = attribute_types(products, {})
        rows = table_of(products, embedding_size, types, sights=comparison is not None)
        known = {FINGERPRINT: fingerprint.encode()}
        if comparison is not None:
            known[COMPARISON] = comparison.encode()
        rows = rows.replace_schema_metadata(known)
        mode = "overwrite" if overwrite else "create"
        database = connect(uri, make=True)
        with one_writer(uri):
            if not overwrite and TABLE in tables_of(uri, database):
                raise CatalogError(
                    f"{uri}: there is a catalog already; add to it, choose another --catalog, or "
                    "replace it with --overwrite"
                )
            commit(uri, lambda: database.create_table(TABLE, rows, mode=mode))
        catalog = cls(uri, database)
        if overwrite:
            catalog.optimise()  # drops what was replaced an hour ago or more
        return catalog

    @classmethod
    def open(cls, uri: str | Path, fingerprint: str | None = None) -> Catalog:
        """Open a catalog.

        Args:
            uri: As in `create`.
            fingerprint: Of the encoder that will be used with it; `None` to use none.

        Raises:
            CatalogError: There is none, it cannot be read, or another encoder made it.
        """
        uri = str(uri)
        database = connect(uri, make=False)
        if TABLE not in tables_of(uri, database):
            raise StorageError(no_catalog(uri))
        try:
            catalog = cls(uri, database)
        except CatalogError:
            raise
        except LANCE_ERRORS as error:
            raise StorageError(
                f"{uri}: the catalog cannot be read ({brief(error)}); index the photos again"
            ) from error
        if fingerprint is not None:
            catalog.check(fingerprint)
        return catalog

    @staticmethod
    def exists(uri: str | Path) -> bool:
        """Whether there is a catalog, usable or not."""
        uri = str(uri)
        folder = folder_of(uri)
        if folder is not None and not folder.is_dir():
            return False
        return TABLE in tables_of(uri, connect(uri, make=False))

    def check(self, fingerprint: str) -> None:
        """Raise `CatalogError` unless the encoder of that fingerprint made the embeddings."""
        if fingerprint != self.fingerprint:
            raise CatalogError(
                f"{self.uri}: was made by another encoder ({self.fingerprint}, the checkpoint is "
                f"{fingerprint}); name that --checkpoint, or index the photos again"
            )

    @property
    def attribute_types(self) -> dict[str, pa.DataType]:
        """The attribute columns and what they hold."""
        return {
            field.name: field.type for field in self._table.schema if field.name not in RESERVED
        }

    @property
    def version(self) -> int:
        """Grows with every commit of any process."""
        return int(self._table.version)

    def stamp(self) -> Stamp:
        """Changes with every commit of any process, and when another catalog takes its place.

        On object storage it is the version alone, which may be the same of another catalog.
        """
        folder = folder_of(self.uri)
        if folder is None:
            return (self.version,)
        place = stamp(folder / f"{TABLE}.lance" / "_versions")
        return (*place, self.version) if place else ()

    def count(self, where: str | None = None) -> int:
        """How many products there are, or how many of them a filter holds for."""
        return len(query(self._table, [PRODUCT], where)[PRODUCT].unique())

    def rows(self, where: str | None = None) -> pa.Table:
        """The attributes of every photo's product that a filter holds for.

        Raises:
            CatalogError: The filter cannot be used.
        """
        return query(self._table, [PRODUCT, *self.attribute_types], where)

    def products(self, where: str | None = None, limit: int | None = None) -> pd.DataFrame:
        """Products in order of their ids.

        Args:
            where: SQL condition on the columns, such as `articleType = 'Tshirts'`.
            limit: At most so many.

        Returns:
            Columns product_id, photos (how many; `number of photos` where an attribute is called
            so), path (of the first), and the attributes.

        Raises:
            CatalogError: The filter cannot be used.
        """
        rows = query(self._table, [KEY, PRODUCT, PATH, *self.attribute_types], where)
        frame = rows.sort_by([(PRODUCT, "ascending"), (KEY, "ascending")]).to_pandas()
        photos = frame.groupby(PRODUCT)[KEY].transform("size").astype("int64")
        count = "photos" if "photos" not in frame else "number of photos"
        frame = frame.assign(**{KEY: photos}).rename(columns={KEY: count})
        frame = frame.drop_duplicates(PRODUCT).head(len(frame) if limit is None else limit)
        first = [PRODUCT, count, PATH]
        others = [name for name in frame if name not in first]
        return frame[first + others].reset_index(drop=True).convert_dtypes()

    def snapshot(self) -> Snapshot:
        """The catalog as it is now, read again only after somebody wrote or replaced it.

        Raises:
            CatalogError: It cannot be read, or was replaced by one of another encoder.
        """
        with self._guard:
            now = self.stamp()
            if self._snapshot is None or self._stamp != now:
                self._check_not_replaced()
                table = self._database.open_table(TABLE)
                table.checkout(table.version)
                self._snapshot, self._stamp = read_snapshot(table), now
            return self._snapshot

    def add(self, products: Sequence[Product]) -> None:
        """Write new products in one commit.

        Raises:
            CatalogError: Some ids are there already (then nothing is written), a product cannot
                be used, or the catalog cannot be written.
        """
        with one_writer(self.uri):
            self.check_new([product.product_id for product in products])
            rows = self._rows(products)
            merge = self._table.merge_insert(KEY).when_not_matched_insert_all()
            written = self._write(lambda: merge.execute(rows))
        if written.num_inserted_rows != len(rows):  # without the lock: on object storage
            raise CatalogError(
                f"{self.uri}: another writer added some of these products at the same time; "
                "update them"
            )

    def check_new(self, product_ids: Sequence[str]) -> None:
        """Raise `CatalogError` with those of the ids that are there already."""
        taken = sorted(attributes_of(self._table, product_ids))
        if taken:
            raise CatalogError(
                f"{self.uri}: has {listed(taken)} already, nothing was added; update instead"
            )

    def update(self, products: Sequence[Product]) -> None:
        """Write products that may be there already, in one commit.

        All photos of a product are replaced by the given ones. Attributes that are given replace
        the old ones (`None` takes one away), others stay.

        Raises:
            CatalogError: A product cannot be used, or the catalog cannot be written.
        """
        ids = [product.product_id for product in products]
        with one_writer(self.uri):
            before = attributes_of(self._table, ids)
            rows = self._rows(
                [
                    replace(p, attributes=before.get(p.product_id, {}) | given)
                    for p in products
                    for given in [given_by_people(p.attributes, self.attribute_types)]
                ]
            )
            merge = (
                self._table.merge_insert(KEY)
                .when_matched_update_all()
                .when_not_matched_insert_all()
                .when_not_matched_by_source_delete(ids_in(ids))
            )
            if ids:
                self._write(lambda: merge.execute(rows))

    def set_attributes(self, product_ids: Sequence[str], attributes: Mapping[str, Any]) -> None:
        """Change attributes of products in one commit; `None` takes one away, photos stay.

        Raises:
            CatalogError: As in `remove`, or a value cannot be used.
        """
        self.set_each(dict.fromkeys(product_ids, attributes))

    def set_each(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Change attributes of products, of each its own, in one commit; see `set_attributes`.

        Args:
            changes: Attributes to set by product id.

        Raises:
            CatalogError: As in `set_attributes`.
        """
        ids = list(changes)
        if not ids:
            return
        with one_writer(self.uri):
            self._check_known(ids)
            nothing = np.zeros((0, self.embedding_size), np.float32)
            products = [Product(name, (), nothing, changes[name]) for name in ids]
            types = attribute_types(products, self.attribute_types)
            add_columns(self.uri, self._table, types)
            changes = {name: given_by_people(given, types) for name, given in changes.items()}
            some = ids_in(ids) if len(ids) <= IDS_PER_QUERY else None
            names = [name for name in self._table.schema.names if name not in (EMBEDDING, SIGHT)]
            rows = query(self._table, names, some)  # what is not among them stays
            if some is None:
                rows = rows.filter(pc.is_in(rows[PRODUCT], pa.array(ids, pa.string())))
            rows = with_attributes(rows, changes, types)
            merge = self._table.merge_insert(KEY).when_matched_update_all()
            self._write(lambda: merge.execute(rows))

    def remove(self, product_ids: Sequence[str]) -> None:
        """Take products out with all their photos, in one commit.

        Raises:
            CatalogError: Some ids are not there (then nothing is removed), or the catalog cannot
                be written.
        """
        with one_writer(self.uri):
            self._check_known(product_ids)
            if product_ids:
                self._write(lambda: self._table.delete(ids_in(product_ids)))

    def optimise(self) -> None:
        """Join the small files that single adds leave, and drop versions over an hour old.

        Readers see no difference, and a failure is none: the next writer tries again.
        """
        tidy(self.uri, self._table)

    def _rows(self, products: Sequence[Product]) -> pa.Table:
        """The products as rows of this table, which gets a column for each new attribute."""
        self._check_not_replaced()
        types = attribute_types(products, self.attribute_types)
        if known_as(COMPARISON, self._table) != self.comparison:  # replaced meanwhile
            products = [replace(product, sights=None) for product in products]
        keeps = SIGHT in self._table.schema.names
        rows = table_of(products, self.embedding_size, types, sights=keeps)
        add_columns(self.uri, self._table, types)
        return rows

    def _check_known(self, product_ids: Sequence[str]) -> None:
        """Raise `CatalogError` with the ids that are not there."""
        known = attributes_of(self._table, product_ids)
        unknown = [name for name in product_ids if name not in known]
        if unknown:
            raise CatalogError(
                f"{self.uri}: has no product {listed(unknown)}, nothing was changed; see `list`"
            )

    def _check_not_replaced(self) -> None:
        """Raise `CatalogError` if another encoder's catalog has taken this one's place."""
        if self._made_by() != self.fingerprint:
            raise CatalogError(
                f"{self.uri}: was replaced by a catalog of another encoder; start again with "
                "that --checkpoint"
            )

    def _made_by(self) -> str | None:
        """Fingerprint in the table as it is now."""
        return known_as(FINGERPRINT, self._table)

    def _write(self, write: Callable[[], Result]) -> Result:
        """One commit, and once in a while `optimise`: updates leave versions, adds data files."""
        before = self._table.version
        written = commit(self.uri, write)
        passed = self._table.version // VERSIONS > before // VERSIONS
        if passed or data_files(self._table) > DATA_FILES:
            self.optimise()
        return written
