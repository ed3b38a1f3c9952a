"""Finds the files that travel with the package: the browser's scripts (static/) and the examples."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def find(name: str) -> Path:
    """Return the path of a file or folder, such as `static/dist` or `examples/chat/server.py`.

    In an installed package they stand below hybridws/_data, in a checkout beside hybridws/. The name comes from code,
    never from a request: nothing here keeps it inside those folders. Raises FileNotFoundError, with what to do.
    """
    checkout = PACKAGE.parent
    places = [PACKAGE / "_data"]
    # Beside an installed package stand other people's packages, and one may be called "examples".
    if (checkout / "pyproject.toml").is_file():
        places.append(checkout)
    for place in places:
        path = place / name
        if path.exists():
            return path
    looked = " and ".join(str(place) for place in places)
    raise FileNotFoundError(
        f"{name} is missing (looked in {looked}). It comes with hybridws: install it again with "
        f"pip install --force-reinstall hybridws, or, in a checkout, bring it back with git restore {name}"
    )
