"""`MODULE:FUNCTION` on the command line to the user's function, with an error that helps when it is not there."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from cormorant.errors import UsageError


def load(text: str, folder: str | None = None) -> Callable[..., Any]:
    """Import MODULE and return its FUNCTION. `folder` (None: the current one) comes first, as with `python -m`.

    Raises UsageError, which names what the module holds that could be called.
    """
    module_name, colon, path = text.partition(":")
    if module_name.endswith(".py") or os.sep in module_name:
        suggestion = module_name.removesuffix(".py").replace(os.sep, ".").strip(".")
        raise UsageError(f"{text!r} names a file; write the module: {suggestion}:{path or 'FUNCTION'}")
    if not colon or not path or not module_name:
        raise UsageError(f"{text!r} names no function; write MODULE:FUNCTION, for example mymodule:{path or 'parse'}")
    here = folder or os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    return _find(_module(module_name), path)


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(f"there is no module {error.name!r} in {os.getcwd()} or among the installed") from None
        raise _broken(name, error) from error
    # Whatever the user's module does while it is imported is the user's: SyntaxError, SystemExit, its own errors.
    except (Exception, SystemExit) as error:
        raise _broken(name, error) from error


def _broken(name: str, error: BaseException) -> UsageError:
    frames = traceback.extract_tb(error.__traceback__)
    at = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames and not isinstance(error, SyntaxError) else ""
    said = traceback.format_exception_only(error)[-1].strip()
    where = f" ({error.filename}:{error.lineno})" if isinstance(error, SyntaxError) else at
    return UsageError(f"importing {name!r} failed: {said}{where}")


def _find(module: ModuleType, path: str) -> Callable[..., Any]:
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name, None)
    if callable(found):
        return found  # type: ignore[no-any-return]
    names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    inside = f"it has {', '.join(sorted(names))}" if names else "nothing in it can be called"
    what = "is not callable" if found is not None else "is not there"
    raise UsageError(f"{path!r} {what} in module {module.__name__!r} ({module.__file__}); {inside}")
