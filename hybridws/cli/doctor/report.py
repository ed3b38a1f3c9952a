"""All that the doctor has found out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hybridws.cli.doctor.faults import (
        Fault,
        Finding,
    )
    from hybridws.cli.doctor.road import Pass
    from hybridws.cli.doctor.route import Route

ALL_WORK: Final = 0
SOME_FALL_BACK: Final = 1
NOTHING_WORKS: Final = 2


@dataclass(slots=True)
class Trial:
    """What became of a real session, left to choose its transports."""

    transport: str | None = None
    """What carried it in the end."""
    opened: float | None = None
    """Seconds until a transport carried it."""
    interruptions: int = 0
    fault: str | None = None


@dataclass(slots=True)
class Report:
    """All that was found out."""

    url: str
    via: str | None
    watched: float
    route: Route
    ticket: Pass | None = None
    fault: Fault | None = None
    """Why there is no session at all."""
    stumbles: list[str] = field(default_factory=list)
    sockjs: bool = False
    """Whether the server speaks SockJS at least, where it does not speak our protocol."""
    findings: list[Finding] = field(default_factory=list)
    trial: Trial = field(default_factory=Trial)

    @property
    def offered(self) -> list[Finding]:
        """The transports that the server has."""
        return [finding for finding in self.findings if finding.state != "not offered"]

    @property
    def exit_code(self) -> int:
        """What a script wants to know."""
        if self.trial.transport is None:
            return NOTHING_WORKS
        return ALL_WORK if all(finding.good for finding in self.findings) else SOME_FALL_BACK
