"""What it means: a sentence for people, and what can be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hybridws.cli.doctor.faults import (
        Finding,
    )
    from hybridws.cli.doctor.report import Report

NAMES: Final = {"websocket": ("WebSocket", "WebSocket"), "stream": ("a stream", "streams"), "poll": ("a poll", "polls")}
"""What each is called in a sentence: one, and many."""


def verdict(report: Report) -> str:
    """Say in a sentence or two what was found out."""
    if report.fault:
        return f"Nothing works: {_no_session(report)}."
    working = [NAMES[finding.transport][1] for finding in report.findings if finding.state == "works"]
    clauses = _troubles(report)
    if working and clauses:
        clauses.append(f"{_and(working)} {'works' if working == ['WebSocket'] else 'work'}")
    where = "here" if report.via is None else f"behind {report.via}"
    if not clauses and working:
        missing = [NAMES[finding.transport][1] for finding in report.findings if finding.state == "not offered"]
        all_of = "Everything works" if not missing else f"All that the server offers works ({_and(working)})"
        clauses.append(f"{all_of} {where}")
    carried = report.trial.transport
    dead = any(finding.transport == carried and finding.state == "dead" for finding in report.findings)
    runs = f"your sessions run over {carried}{' until they notice' if dead else ''}"
    clauses.append(runs if carried else "no session stays alive")
    text = "; ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


def _troubles(report: Report) -> list[str]:
    """Say what is wrong with each transport; what is wrong with several is said once."""
    clauses: list[str] = []
    said: set[str] = set()
    for finding in report.offered:
        if finding.good:
            continue
        name = NAMES[finding.transport][0]
        again = f"so {'is' if finding.words.startswith('is ') else 'does'} {name}"
        clauses.append(again if finding.words in said else f"{name} {finding.words}")
        said.add(finding.words)
    return clauses


def _no_session(report: Report) -> str:
    if report.sockjs:
        return "this server speaks SockJS, but not the protocol of hybridws: an old version, or another server"
    return report.fault.words.removeprefix("fails: ") if report.fault else ""


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


ADVICE: Final = {
    ("websocket", "refused"): "Let upgrades pass: whoever runs the proxy has to send on the headers Upgrade and "
    "Connection. Until then nothing is lost but speed.",
    ("websocket", "silent"): "Something answers upgrades, or swallows them, and understands no WebSocket: a proxy, a "
    "virus scanner or a balancer. With https:// it cannot look inside, unless it breaks TLS.",
    ("websocket", "fails"): "Something cuts upgrades instead of answering them: look at the proxy or firewall.",
    ("stream", "buffered"): "Something keeps answers until they are complete: proxy_buffering off (nginx), or the same "
    "for your proxy or virus scanner. With https:// most leave answers alone.",
    ("stream", "late"): "Something holds the beginning of answers back, as compression does: switch it off for "
    "text/event-stream.",
}
"""What can be done, by transport and state."""
SILENCE_ADVICE: Final = (
    "Connections are cut for silence: mount(..., heartbeat={:.1g}) says something in time, or raise the idle timeout "
    "of the proxy (proxy_read_timeout in nginx, timeout tunnel in HAProxy)."
)
AGE_ADVICE: Final = (
    "Connections are cut at a fixed age: look for a limit on the length of a connection in the proxy or firewall."
)
CAUSE_ADVICE: Final = {"silence": SILENCE_ADVICE, "age": AGE_ADVICE}
POLL_ADVICE: Final = "Requests that wait are cut: mount(..., poll_timeout={:.1g}) answers in time."
DEAD_ADVICE: Final = (
    "Connections are forgotten and nobody is told, as firewalls do: a shorter mount(..., heartbeat=...) keeps them."
)
FLAKY_ADVICE: Final = "Some requests fail by chance, as behind a gateway whose servers restart; sessions survive that."
STATE_ADVICE: Final = {"dead": DEAD_ADVICE, "flaky": FLAKY_ADVICE}
HTTP_PROXY_ADVICE: Final = (
    "The address is http:// and the way leads through a proxy, which sees all and may change it: https:// goes through "
    "it in a tunnel."
)
REFUSED_ADVICE: Final = "The server wants to know who you are: --auth, --cookie or --header."
LESS: Final = 0.6
"""The part of the time after which silence is cut at which something should be said (protocol §7)."""
UNAUTHENTICATED: Final = (401, 403)


def advice(report: Report) -> list[str]:
    """Say what can be done about it."""
    found: list[str] = []
    if report.fault and report.fault.by == "server" and report.fault.status in UNAUTHENTICATED:
        found.append(REFUSED_ADVICE)
    for finding in report.offered:
        if finding.by != "server":
            found += _advice_on(finding)
    if found and report.route.proxy and not report.route.tls:
        found.append(HTTP_PROXY_ADVICE)
    return list(dict.fromkeys(found))


def _advice_on(finding: Finding) -> list[str]:
    found = [ADVICE.get((finding.transport, finding.state), ""), STATE_ADVICE.get(finding.state, "")]
    if finding.cut is not None and finding.transport == "poll":
        found.append(POLL_ADVICE.format(finding.cut * LESS))
    elif finding.cut is not None and finding.cause:
        found.append(CAUSE_ADVICE[finding.cause].format(finding.cut * LESS))
    return [text for text in found if text]
