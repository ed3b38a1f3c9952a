"""What is said to the compiler alone: while Python itself runs, it does nothing, and needs no library."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr  # noqa: PLC0414 - so that it may be had from here
else:

    def mypyc_attr(**_attributes):  # noqa: ANN003, ANN201 - its types are those above
        """Leave a class as it is."""
        return lambda kind: kind
