"""Our own way to run an application: `run` owns the process that it is called in, `serve` only sockets."""

from hybridws.run.process import run
from hybridws.run.serving import App, serve
from hybridws.run.settings import CannotServe, Settings

__all__ = ["App", "CannotServe", "Settings", "run", "serve"]
