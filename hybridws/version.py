"""The version, for the package and its command."""

__version__ = "0.1.0"
