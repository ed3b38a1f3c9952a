"""What an operator sees of a running server: health, logs, metrics, traces (docs/operations.md).

`hybridws.observe.metrics` and `hybridws.observe.tracing` need the extras `metrics` and `tracing`.
"""

from hybridws.observe.health import mount_health
from hybridws.observe.logs import log_sessions

__all__ = ["log_sessions", "mount_health"]
