"""The public names: complete, documented, typed, and the same words everywhere."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import cormorant

ROOT = Path(__file__).parent.parent
FACE = ROOT / "tests" / "typing" / "public_face.py"
NAMES = [name for name in cormorant.__all__ if name != "__version__"]
FUNCTIONS = ["acrawl", "afetch", "aget", "crawl", "fetch", "get", "map"]


def imported_for_checkers() -> dict[str, str]:
    """Return name -> module of what `__init__` shows to type checkers."""
    tree = ast.parse((ROOT / "src" / "cormorant" / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name, f"{alias.name} is not marked as exported (`as {alias.name}`)"
            found[alias.name] = node.module or ""
    return found


def test_all_is_sorted_and_has_no_doubles() -> None:
    assert list(cormorant.__all__) == [*sorted(NAMES), "__version__"]
    assert dir(cormorant) == sorted(cormorant.__all__)


def test_all_is_what_type_checkers_see() -> None:
    assert imported_for_checkers() == {name: f"cormorant.{home}" for name, home in cormorant._HOME.items()}


def test_every_error_and_every_function_of_the_api_is_public() -> None:
    from cormorant import api, errors, getting

    classes = {name for name, value in vars(errors).items() if inspect.isclass(value) and not name.startswith("_")}
    assert classes == {name for name in NAMES if cormorant._HOME[name] == "errors"}
    functions = {
        name
        for module in (api, getting)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
    homes = ("api", "getting")
    assert functions == {name for name in NAMES if cormorant._HOME[name] in homes} == set(FUNCTIONS)


@pytest.mark.parametrize("name", NAMES)
def test_name_is_there_and_documented(name: str) -> None:
    value = getattr(cormorant, name)
    if name == "Outcome":
        assert value == cormorant.Page | cormorant.Failure
        return
    assert inspect.isclass(value) or inspect.isfunction(value)
    assert value.__name__ == name
    assert value.__module__ == f"cormorant.{cormorant._HOME[name]}"
    text = inspect.cleandoc(value.__doc__ or "")
    assert len(text.splitlines()[0]) > 10
    assert text.splitlines()[0].endswith((".", ":"))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"Outcome", *FUNCTIONS}])
def test_public_members_are_documented(name: str) -> None:
    for member, value in vars(getattr(cormorant, name)).items():
        if not member.startswith("_") and (isinstance(value, property) or inspect.isfunction(value)):
            assert value.__doc__, f"{name}.{member}"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signature_is_typed(name: str) -> None:
    function = getattr(cormorant, name)
    hints = typing.get_type_hints(function)
    assert "return" in hints
    assert set(inspect.signature(function).parameters) <= set(hints)
    positional = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    assert len(positional) <= 2, "everything but the subject is keyword-only"


@pytest.mark.parametrize(("plain", "awaited"), [("fetch", "afetch"), ("get", "aget"), ("crawl", "acrawl")])
def test_the_awaited_twin_takes_the_same_arguments(plain: str, awaited: str) -> None:
    one, other = (inspect.signature(getattr(cormorant, name)).parameters for name in (plain, awaited))
    assert list(one.values()) == list(other.values())


def test_keyword_arguments_are_the_fields_of_options() -> None:
    from cormorant.opening import OptionWords

    assert list(OptionWords.__annotations__) == [field.name for field in dataclasses.fields(cormorant.Options)]


def test_keyword_arguments_of_a_crawl_are_words_of_its_policies() -> None:
    from cormorant.opening import CrawlWords, OptionWords
    from cormorant.policies.following import Following
    from cormorant.policies.scope import Scope

    known = {field.name for policy in (Scope, Following) for field in dataclasses.fields(policy)}
    words = set(CrawlWords.__annotations__) - set(OptionWords.__annotations__)
    assert words - known == {"scope"}, "what Scope calls reach"
    assert known - words == {"reach", *(name for name in known if name.startswith(("most_", "longest_")))}


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'cormorant' has no attribute 'fetsch'"):
        cormorant.fetsch  # noqa: B018


def test_version_is_the_one_of_the_changelog() -> None:
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0].split()[1] == cormorant.__version__


def test_types_from_outside(tmp_path: Path) -> None:
    """Let mypy --strict read a user's module; its `type: ignore` lines must be needed."""
    words = ["--strict", "--cache-dir", str(tmp_path / "cache"), "--config-file", "", str(FACE)]
    answer = subprocess.run([sys.executable, "-m", "mypy", *words], cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
