"""MODULE:FUNCTION is found, or the error says what would be."""

import sys

import pytest

from cormorant.cli import usercode
from cormorant.errors import UsageError


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder; what is imported from it is forgotten again."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_function_of_the_current_folder(here):
    (here / "mine_a.py").write_text("class Shop:\n    @staticmethod\n    def price(page): return 42\n")
    assert usercode.load("mine_a:Shop.price")(None) == 42


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mine_b", "write MODULE:FUNCTION, for example mymodule:parse"),
        ("mine_b:", "write MODULE:FUNCTION"),
        (":f", "write MODULE:FUNCTION"),
        ("mine_b.py:f", "write the module: mine_b:f"),
        ("sub/mine_b.py:f", "write the module: sub.mine_b:f"),
        ("mine_b:nothing", "it has Thing, parse"),
        ("mine_b:number", "'number' is not callable"),
        ("mine_nowhere:f", "no module 'mine_nowhere'"),
        ("mine_b.deeper:f", "no module 'mine_b.deeper'"),
        ("mine_needs:f", "importing 'mine_needs' failed: ModuleNotFoundError: No module named 'not_installed'"),
        ("mine_raises:f", "ZeroDivisionError"),
        ("mine_syntax:f", "SyntaxError"),
        ("mine_exits:f", "SystemExit"),
    ],
)
def test_what_is_not_there(here, text, said):
    (here / "mine_b.py").write_text("number = 1\nclass Thing: pass\ndef parse(page): pass\ndef _hidden(): pass\n")
    (here / "mine_needs.py").write_text("import not_installed\n")
    (here / "mine_raises.py").write_text("1 / 0\n")
    (here / "mine_syntax.py").write_text("def f(:\n")
    (here / "mine_exits.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(UsageError) as caught:
        usercode.load(text)
    assert said in str(caught.value)


def test_a_module_that_raises_is_named_with_its_line(here):
    (here / "mine_line.py").write_text("x = 1\n\nraise RuntimeError('no key')\n")
    with pytest.raises(UsageError, match=r"RuntimeError: no key \(.*mine_line\.py:3\)"):
        usercode.load("mine_line:f")
