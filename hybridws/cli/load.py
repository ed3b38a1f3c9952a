"""Finds the application that MODULE:APP names."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

if TYPE_CHECKING:
    from hybridws.run import App


class CannotLoad(Exception):
    """There is no application of this name; the message says why, and what to do."""


def load(name: str, *, factory: bool) -> App:
    """Import `MODULE:APP`; the current folder is looked in first. Raises CannotLoad."""
    module_name, colon, path = name.partition(":")
    if not (module_name and colon and path) or "/" in module_name or module_name.endswith(".py"):
        raise CannotLoad(f"{name!r} is not MODULE:APP, such as chat:app for the variable app in chat.py")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    module = _import(module_name)
    found: Any = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise CannotLoad(f"{module_name} has no {path!r}{_hint(module)}") from None
    if isinstance(found, web.Application):
        if factory:
            raise CannotLoad(f"{name} is an application, not a function that makes one: leave --factory away")
        return found
    if not callable(found):
        raise CannotLoad(f"{name} is {found!r:.60}, not an aiohttp.web.Application nor a function that makes one")
    return cast("App", found)  # what it makes is looked at when it has made it


def _import(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise CannotLoad(
                f"there is no module {error.name!r} in {Path.cwd()} nor among the installed packages: "
                "start in the folder that holds it, or set PYTHONPATH"
            ) from None
        raise CannotLoad(f"{name} cannot be imported: {error}") from error
    except Exception as error:
        raise CannotLoad(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _hint(module: object) -> str:
    """Name the applications that are there."""
    there = [name for name, value in vars(module).items() if isinstance(value, web.Application)]
    return f"; it has the application {' and '.join(there)}" if there else ""
