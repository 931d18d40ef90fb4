"""What the shards of a fleet wrote to a store: which objects count, and how they are read back.

    pages.jsonl.shards/0003/manifest-1764130000123-00000012.json   epoch and publication (12) of shard 3: what counts
    pages.jsonl.shards/0003/journal-1764130000123-00000012.sqlite  the shard's journal at that instant
    pages.jsonl.parts/0003/part-1764130000123-00000012.jsonl       what was written since publication 11

An epoch is the instant of a run's begin (ms since 1970) or higher, one more for each owner that died.

Law: of a shard the manifest of the highest epoch counts, and of that epoch the last. It is put when all that it names
is there, so what no manifest names was never said to be written; nor is a manifest that breaks off, for its successor
comes from the one before it. What an owner who was given up publishes bears its older epoch, and is not looked at.

Once all is merged in one object, under the name of the output, `pages.jsonl.shards/merged` says so; then that counts.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from cormorant.errors import OutputError, UsageError
from cormorant.messages import Outcome
from cormorant.stores import Place, reading

MERGED = "merged"
SHARDS, PARTS = ".shards", ".parts"  # apart, so that what is looked for is listed without all parts there are
FORMATS = ("jsonl", "csv", "warc", "parquet")
_LOOKS = 3  # a run that goes on removes the manifest before the last
_MANIFEST = re.compile(r"(?:(\d{4})/)?manifest-(\d{6,})-(\d{8})\.json")

Key = tuple[int, int]  # epoch, number of the publication


class Stored(msgspec.Struct, frozen=True):
    """One object that holds outcomes, and its length in bytes."""

    name: str
    length: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What counts of a shard: its journal, and its parts in the order of writing."""

    epoch: int
    number: int
    journal: str
    parts: tuple[Stored, ...]

    @property
    def key(self) -> Key:
        """By what it is newer than another."""
        return self.epoch, self.number


def name_of(what: str, key: Key, suffix: str) -> str:
    """Return the name of an object of one publication: `what` is manifest, journal or part."""
    return f"{what}-{key[0]:06d}-{key[1]:08d}{suffix}"


def all_shards(target: str) -> Place:
    """Return where the shards of an output lie. Raises UsageError and MissingPackage."""
    return Place(target.rstrip("/") + SHARDS)


def shard_place(target: str, shard: int) -> Place:
    """Return where the manifests and journals of one shard lie."""
    return Place(f"{target.rstrip('/')}{SHARDS}/{shard:04d}")


def parts_place(target: str, shard: int) -> Place:
    """Return where the parts of one shard lie."""
    return Place(f"{target.rstrip('/')}{PARTS}/{shard:04d}")


def is_there(target: str) -> bool:
    """Whether an output has this name already. Raises OutputError when the store does not answer."""
    return bool(all_shards(target).names()) or Place(target).is_object()


def is_merged(target: str) -> bool:
    """Whether all is merged in one object. Raises OutputError."""
    return MERGED in all_shards(target).names()


def remove(target: str) -> None:
    """Remove an output: what counts first, so that nothing ever names what is gone. Raises OutputError."""
    all_shards(target).remove_all()
    Place(target.rstrip("/") + PARTS).remove_all()
    Place(target).remove("")


def put_merged(target: str, path: Path) -> None:
    """Put the file in which all is merged, and note that it counts. Raises OutputError."""
    folder, _, name = target.rpartition("/")
    Place(folder).put_file(name, path)
    all_shards(target).put(MERGED, b"")


def remove_parts(target: str) -> None:
    """Remove what was merged, but for the note. Safe to call twice. Raises OutputError."""
    top = all_shards(target)
    for name in top.names():
        if name != MERGED:
            top.remove(name)
    Place(target.rstrip("/") + PARTS).remove_all()


def epochs(target: str) -> dict[int, int]:
    """Return the highest epoch under which anything was published of each shard. Raises OutputError."""
    return _epochs_in(all_shards(target).names())


def _epochs_in(names: Iterable[str]) -> dict[int, int]:
    highest: dict[int, int] = {}
    for name in names:
        if (match := _MANIFEST.fullmatch(name)) and match[1]:
            shard = int(match[1])
            highest[shard] = max(highest.get(shard, 0), int(match[2]))
    return highest


def keys(place: Place) -> list[Key]:
    """Return the keys of a shard's manifests that are there, in order. Raises OutputError."""
    found = (_MANIFEST.fullmatch(name) for name in place.names())
    return sorted((int(match[2]), int(match[3])) for match in found if match and not match[1])


def newest(place: Place) -> Manifest | None:
    """Return the manifest of a shard that counts; None where none was put whole. Raises OutputError."""
    for _ in range(_LOOKS):
        there = keys(place)
        for key in reversed(there):
            manifest = _manifest(place, key)
            if manifest is not None:
                return manifest
        if not there:
            break
    return None


def read(target: str, read_file: Callable[[str], Iterator[Outcome]]) -> Iterator[tuple[str, Iterator[Outcome]]]:
    """Yield each part of an output, by its URL, with the outcomes in it: shard by shard, in the order of writing.

    Each is fetched to a temporary folder and removed before the next. Raises UsageError where there is no such output,
    before anything is yielded, and for a part that has not its length.
    """
    with reading():
        names = all_shards(target).names()
        shards = sorted(_epochs_in(names))
        if not shards or MERGED in names:
            if not Place(target).is_object():
                raise UsageError(f"{target} does not exist; name an output that cormorant wrote")
            return _read_object(target, read_file)
    return _read(target, shards, read_file)


def _read_object(target: str, read_file: Callable[[str], Iterator[Outcome]]) -> Iterator[tuple[str, Iterator[Outcome]]]:
    with tempfile.TemporaryDirectory(prefix="cormorant-output-") as folder:
        local = Path(folder, target.rpartition("/")[2])
        with reading():
            Place(target).get_file("", local)
        yield target, read_file(str(local))


def _read(
    target: str, shards: list[int], read_file: Callable[[str], Iterator[Outcome]]
) -> Iterator[tuple[str, Iterator[Outcome]]]:
    for shard in shards:
        with reading():
            manifest = newest(shard_place(target, shard))
        place = parts_place(target, shard)
        for part in () if manifest is None else manifest.parts:
            with tempfile.TemporaryDirectory(prefix="cormorant-part-") as folder:
                local = Path(folder, part.name)
                _fetch(place, part, local)
                yield f"{place.url}/{part.name}", read_file(str(local))


def _fetch(place: Place, part: Stored, local: Path) -> None:
    with reading():
        place.get_file(part.name, local)
    size = local.stat().st_size
    if size != part.length:
        raise UsageError(f"{place.url}/{part.name} has {size:,} bytes, and {part.length:,} were put there")


def _manifest(place: Place, key: Key) -> Manifest | None:
    """Return a manifest; None where it breaks off, or was removed since it was listed."""
    try:
        return msgspec.json.decode(place.get(name_of("manifest", key, ".json")), type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    except OutputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
