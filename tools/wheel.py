"""Hatchling's build hook: puts static/ and examples/ into the wheel, below hybridws/_data, and packs the scripts.

It names file by file, where `force-include` of whole folders would take node_modules with them; and an editable
install, which finds both in the checkout, gets no copies that grow old.
"""

from __future__ import annotations

import gzip
import os
import tempfile
from pathlib import Path

import brotli
from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("static", "examples")
LEFT_OUT = {"node_modules", "__pycache__", "test"}
PACKED = "static/dist"
"""The folder whose files lie in the wheel as .gz and .br too, so that a server need not pack them."""


class Data(BuildHookInterface[BuilderConfig]):
    """Adds the folders that the package reads at run time (hybridws/assets.py finds them)."""

    PLUGIN_NAME = "custom"
    packed: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, object]) -> None:
        """Name each file, and its place in the wheel, before the wheel is built."""
        if version == "editable":
            return
        places = build_data["force_include"]
        if not isinstance(places, dict):
            raise TypeError(f"hatchling changed: force_include is {places!r}")
        root = Path(self.root)
        for name in FOLDERS:
            if not (root / name).is_dir():
                raise FileNotFoundError(f"{name}/ is missing in {root}: a wheel without it would not work")
            for folder, children, files in os.walk(root / name):
                children[:] = sorted(child for child in children if child not in LEFT_OUT and child[0] != ".")
                for file in sorted(files):
                    source = Path(folder, file)
                    places[str(source)] = f"hybridws/_data/{source.relative_to(root).as_posix()}"
        self.packed = tempfile.TemporaryDirectory()
        for source in sorted((root / PACKED).iterdir()):
            plain = source.read_bytes()
            for ending, packed in ((".gz", gzip.compress(plain, mtime=0)), (".br", bytes(brotli.compress(plain)))):
                copy = Path(self.packed.name, source.name + ending)
                copy.write_bytes(packed)
                places[str(copy)] = f"hybridws/_data/{PACKED}/{copy.name}"

    def finalize(self, version: str, build_data: dict[str, object], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's
        """Clear away what was packed, once the wheel holds it."""
        if self.packed:
            self.packed.cleanup()
