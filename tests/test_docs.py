"""The documents say what the program is: every name is there, every block marked `run` runs, every reference leads on.

A block whose info string says `run` (```` ```python run ````, ```` ```sh run exit=1 ````) is run in an empty folder
beside the embedded site, at port 8000 of the text; a ```` ```text output ```` block after it is its whole stdout.
"""

from __future__ import annotations

import ast
import dataclasses
import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import cormorant
from cormorant import engines

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "cormorant"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS]
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
SHELVES = {
    "architecture",
    "cluster",
    "engines",
    "explanation/fleet",
    "explanation/how-engines-wait",
    "explanation/durability",
    "explanation/measuring",
    "glossary",
    "howto",
    "libraries",
    "reference",
    "tutorial",
}

PORT_IN_THE_TEXT = "127.0.0.1:8000"
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced block: `words` is its info string."""

    page: Path
    line: int
    words: tuple[str, ...]
    text: str

    @property
    def exit(self) -> int:
        """The exit code that is expected."""
        return int(next((word.partition("=")[2] for word in self.words if word.startswith("exit=")), "0"))


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, tuple(found[2].split()), found[3])
        for found in FENCE.finditer(text)
    ]


def runnable(page: Path) -> list[tuple[Block, str | None]]:
    """Return the blocks that run, each with the stdout that is shown after it, if any is."""
    here = blocks(page)
    return [
        (block, after.text if after is not None and after.words == ("text", "output") else None)
        for block, after in itertools.zip_longest(here, here[1:])
        if "run" in block.words
    ]


def sections(text: str) -> dict[str, str]:
    """Return heading -> what stands under it."""
    parts = re.split(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table row, headings and rules left out."""
    lines = [line.replace("\\|", "¦") for line in text.splitlines() if line.lstrip().startswith("|")]
    cells = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    rules = {number for number, row in enumerate(cells) if all(re.fullmatch(r"-+", cell) for cell in row)}
    return [row for number, row in enumerate(cells) if number not in rules and number + 1 not in rules]


def first_names(text: str) -> set[str]:
    """Return every name in backquotes in the first cell of a table row."""
    return {name for row in rows(text) for name in re.findall(r"`([^`]+)`", row[0])}


# --- what stands in them ---


def test_the_shelves_are_full() -> None:
    assert {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in DOCS} == SHELVES
    readme = (ROOT / "README.md").read_text()
    assert all(f"docs/{name}.md" in readme for name in SHELVES)


def test_readme_begins_with_the_two_commands() -> None:
    first = blocks(ROOT / "README.md")[0]
    assert [line.split("#")[0].strip() for line in first.text.splitlines()] == ["make demo", "make test"]
    assert first.line < 5


def test_readme_example_is_12_lines() -> None:
    """Blank lines are the formatter's and are not counted."""
    example = next(block for block in blocks(ROOT / "README.md") if block.words[:1] == ("python",))
    assert len([line for line in example.text.splitlines() if line.strip()]) <= 12


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "engines.md"], ids=lambda page: page.stem)
def test_table_of_engines_is_the_one_of_the_code(page: Path) -> None:
    table = [row for row in rows(page.read_text()) if len(row) == 7]
    assert table == [
        [
            f"`{facts.name}`",
            facts.waits,
            facts.switches,
            facts.threads,
            facts.processes,
            facts.cores,
            str(facts.default_concurrency),
        ]
        for facts in engines.FACTS.values()
    ]


def test_every_engine_has_a_section() -> None:
    headings = list(sections((ROOT / "docs" / "engines.md").read_text()))
    assert [heading for heading in headings if heading in engines.names()] == list(engines.names())


def test_readme_names_the_engine_that_is_chosen_without_a_choice() -> None:
    assert f"Without a choice it is `{cormorant.Options().engine}`" in (ROOT / "README.md").read_text()


def commands() -> dict[str, Any]:
    import typer.main

    from cormorant.cli.app import app

    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def test_every_command_has_a_section_and_no_other_has() -> None:
    named = re.findall(r"^### cormorant (\S+)", REFERENCE, re.MULTILINE)
    assert sorted(named) == sorted(commands())


@pytest.mark.parametrize("command", sorted(commands()))
def test_every_option_of_a_command_is_in_the_reference(command: str) -> None:
    """Each under its command by one name at least, and somewhere under every name it has."""
    own = next(text for heading, text in sections(REFERENCE).items() if heading.startswith(f"cormorant {command}"))
    if command in ("crawl", "fetch"):
        own += sections(REFERENCE)["Options"]
    for parameter in commands()[command].params:
        words = [word for word in (*parameter.opts, *parameter.secondary_opts) if word.startswith("-")]
        if words and "--help" not in words:
            assert any(is_named(word, own) for word in words), f"{command} {words}"
            assert all(is_named(word, REFERENCE) for word in words), f"{command} {words}"


def is_named(option: str, text: str) -> bool:
    return re.search(rf"`[^`\n]*(?<![\w-]){re.escape(option)}(?![\w-])", text) is not None


def test_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert [name for name in commands() if f"cormorant {name}" not in readme] == []


def test_every_option_is_in_the_reference_with_its_default() -> None:
    table = {row[0]: row for row in rows(sections(REFERENCE)["Options"])}
    fields = {f"`{field.name}`": field.default for field in dataclasses.fields(cormorant.Options)}
    assert list(table) == list(fields)
    said_otherwise = {"`concurrency`": "the engine's own", "`header`": "none", "`proxy`": "none", "`watchdog`": "none"}
    for name, default in fields.items():
        shown = table[name][2]
        if name in said_otherwise:
            assert shown == said_otherwise[name]
            assert default in (None, ())
        else:
            number = f"{default:g}" if isinstance(default, float) else str(default)
            assert shown.split(" ")[0] == f"`{number}`"
        assert f"`--{name.strip('`').replace('_', '-')}" in table[name][1]


def test_every_kind_of_failure_is_in_the_reference() -> None:
    assert first_names(sections(REFERENCE)["Failures"]) == {kind.value for kind in cormorant.Kind}


def test_every_phase_is_in_the_reference() -> None:
    timed = set(cormorant.Timings.__struct_fields__) - {"queue", "total"}
    source = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    given = set(re.findall(r'phase="(\w+)"', source))
    assert "job" in given
    sentence = sections(REFERENCE)["Failures"].partition("`phase` is one of")[2].split("\n\n")[0]
    assert timed | given == set(re.findall(r"`([^`]+)`", sentence))


def test_every_field_of_an_outcome_is_in_the_reference() -> None:
    named = first_names(sections(REFERENCE)["Outcomes"])
    for kind in (cormorant.Page, cormorant.Failure):
        properties = {name for name, value in vars(kind).items() if isinstance(value, property)}
        assert {*kind.__struct_fields__, *properties} <= named
    rest = sections(REFERENCE)["Outcomes"]
    for kind in (cormorant.Timings, cormorant.Redirect):
        assert all(f"`{field}`" in rest for field in kind.__struct_fields__)


def test_every_field_of_a_record_is_in_the_reference() -> None:
    from cormorant.sinks.records import Record

    section = sections(REFERENCE)["Records"]
    named = first_names(section) | set(
        re.findall(r"`([^`]+)`", section.partition("The others")[2].partition("\n\n")[0])
    )
    assert named == set(Record.__struct_fields__)


def test_every_key_of_a_comparison_is_in_the_reference() -> None:
    from cormorant.lab import comparison
    from cormorant.lab.claims import Verdict

    section = sections(REFERENCE)["Comparison"]
    named = set(re.findall(r"`(\w+)`", section))
    structs = (comparison.Comparison, comparison.Machine, comparison.WorkDone, comparison.Origin, comparison.Phases)
    for struct in (*structs, comparison.Trial, Verdict):
        assert {*struct.__struct_fields__} <= named, struct.__name__
    keys = {name for row in rows(section) for name in re.findall(r"`([^`]+)`", row[0])}
    assert keys == {*comparison.Comparison.__struct_fields__, *comparison.Trial.__struct_fields__}


def test_every_field_of_a_result_is_in_the_reference() -> None:
    assert first_names(sections(REFERENCE)["Results of map"]) == set(cormorant.Result.__struct_fields__)


@pytest.mark.parametrize("page", ["README.md", "docs/reference.md"])
def test_every_exit_code_is_told(page: str) -> None:
    from cormorant.cli.exits import Exit

    (told,) = (text for text in sections((ROOT / page).read_text()).values() if re.search(r"^\| 130 \|", text, re.M))
    assert [int(row[0]) for row in rows(told) if row[0].isdigit()] == [code.value for code in Exit]


def test_every_public_name_is_in_the_reference() -> None:
    missing = [name for name in cormorant.__all__ if not re.search(rf"`{name}\b", REFERENCE)]
    assert missing == ["__version__"]


def test_every_variable_of_the_environment_that_is_read_is_told() -> None:
    read = {
        name
        for path in SOURCE.rglob("*.py")
        for name in re.findall(r"environ(?:\.get\(|\[)\s*['\"](\w+)", path.read_text())
    }
    assert read <= first_names(sections(REFERENCE)["Environment"])
    assert "SSL_CERT_FILE" in read


def test_every_retried_status_and_kind_is_told() -> None:
    from cormorant.policies.retries import PASSING_KINDS, PASSING_STATUSES

    (paragraph,) = (text for text in REFERENCE.split("\n\n") if text.startswith("**Retries**"))
    assert {int(number) for number in re.findall(r"\b[45]\d\d\b", paragraph)} == PASSING_STATUSES
    assert set(re.findall(r"`([^`]+)`", paragraph)) == PASSING_KINDS


def test_every_library_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    wanted += [line for lines in extras.values() for line in lines if not line.startswith("cormorant[")]
    names = {re.match(r"[\w.-]+", line)[0] for line in wanted}  # type: ignore[index]
    told = {
        word for row in rows((ROOT / "docs" / "libraries.md").read_text()) for cell in row for word in cell.split(", ")
    }
    assert {name for name in names if name not in told} == set()
    readme = (ROOT / "README.md").read_text()
    assert {extra for extra in extras if f"[{extra}]" in readme} == {*extras} - {"dev"}


def test_layers_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    (shown,) = (block for block in blocks(ROOT / "docs" / "architecture.md") if block.words == ("layers",))
    assert shown.text.splitlines() == layers


def test_tour_of_files_visits_every_room() -> None:
    tour = sections((ROOT / "docs" / "architecture.md").read_text())["The files"]
    rooms = {path.name for path in SOURCE.glob("*.py")} | {f"{path.parent.name}/" for path in SOURCE.glob("*/*.py")}
    assert first_names(tour) == rooms - {"__main__.py"}


# --- where they lead ---


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in {
                re.sub(r"[^\w-]", "", line.lower().replace(" ", "-")) for line in sections(there.read_text())
            }


OF_THE_READER = {"titles.py"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_and_functions_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`((?:[\w-]+/)*[\w-]+\.py)(?::([\w.]+))?`", page.read_text())
    for path, function in named:
        found = [place / path for place in (SOURCE, ROOT) if (place / path).exists()]
        found += [] if "/" in path else [*SOURCE.rglob(path), *ROOT.glob(f"examples/{path}")]
        assert found or path in OF_THE_READER, path
        if function:
            assert function in defined(found[0]), f"{path}:{function}"


def defined(path: Path) -> set[str]:
    """Return the functions and classes of a module, methods as `Class.method`."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


# --- what runs ---


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of an embedded site that runs beside the blocks."""
    pytest.importorskip("granian")
    from cormorant.lab import site

    with site.running(site.Workload.mixed(500)) as served:
        yield served.port


@pytest.fixture
def folder(tmp_path: Path, port: int) -> Path:
    """A folder with what the README's blocks speak of."""
    base = f"http://127.0.0.1:{port}"
    (tmp_path / "urls.txt").write_text("".join(f"{base}/page/{number}\n" for number in range(5)))
    (tmp_path / "items.txt").write_text("one\ntwo\n")
    (tmp_path / "mymodule.py").write_text("def function(item):\n    return item.upper()\n")
    return tmp_path


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which `cormorant` is the command of this tree."""
    bin = tmp_path_factory.mktemp("bin")
    command = bin / "cormorant"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cormorant "$@"\n')
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{bin}{os.pathsep}{os.environ['PATH']}"}


def at_port(text: str, port: int) -> str:
    """Lead the addresses of the text to the site."""
    base = f"127.0.0.1:{port}"
    for shown, real in (
        (PORT_IN_THE_TEXT, base),
        ("--port 8000", f"--port {port}"),
        ("https://a.example/", f"http://{base}/page/1"),
        ("https://b.example/", f"http://{base}/page/2"),
    ):
        text = text.replace(shown, real)
    return text


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=lambda page: page.stem)
def test_blocks_run(page: Path, port: int, folder: Path, environment: dict[str, str]) -> None:
    """Run the blocks of a page in turn, in one folder: later ones may use what earlier ones wrote."""
    for block, output in runnable(page):
        text = at_port(block.text, port)
        where = f"{page.name}, line {block.line}"
        if re.search(r"\bjq\b", text) and shutil.which("jq") is None:
            continue
        if block.words[0] == "python":
            (folder / "block.py").write_text(text)
            command = [sys.executable, "-W", "error", "block.py"]
        else:
            # Every command must end well, or with the code that is expected; the last one decides.
            rule = f"set -o pipefail; trap 'test $? = {block.exit} || exit 99' ERR"
            command = ["bash", "-c", f"{rule}\n{text}"]
        answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=110)
        assert answer.returncode == block.exit, f"{where}: {answer.stdout}{answer.stderr}"
        assert "Traceback" not in answer.stderr, f"{where}: {answer.stderr}"
        if output is not None:
            assert answer.stdout.replace(f"127.0.0.1:{port}", PORT_IN_THE_TEXT) == output, where
