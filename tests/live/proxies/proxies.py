"""The proxies of Debian that tests stand behind: how each is started, with which configuration, and what passes it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from tests.live.drivers import lack

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

HERE: Final = Path(__file__).parent
EXAMPLES: Final = HERE.parent.parent.parent / "examples"

LISTENS, ASKS = 8000, 8080
"""The ports in every configuration: where the proxy listens, and where the application does."""

PATIENCE: Final = 20.0
"""Seconds for a proxy to listen: varnish first has a C compiler translate its VCL."""
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - it is nowhere else
"""Where squid leaves some when it is killed; to end in peace takes it two seconds."""
LOOK_EVERY: Final = 0.02
"""Seconds between two tries to connect to a proxy that is starting."""


class Program(NamedTuple):
    """One proxy: its command, and how a test starts it."""

    command: str
    start: Callable[[Path, str], list[str]]
    """Given a folder with the configuration in it, named `site`, and the address to listen on, return the arguments."""


def service(port: object) -> str:
    """Return what squid is to call itself: the shared memory of each process bears the name."""
    return f"hybridws{port}"


def _nginx(folder: Path, _address: str) -> list[str]:
    places = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"daemon off; {'user root;' if os.geteuid() == 0 else ''} pid {folder}/pid; error_log stderr;"
        f"worker_processes 1; events {{ }}"
        f"http {{ access_log off; client_body_temp_path {folder}/client; {places} include {folder}/site; }}"
    )
    return ["-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def _haproxy(folder: Path, _address: str) -> list[str]:
    return ["-db", "-f", str(folder / "site")]


def _squid(folder: Path, address: str) -> list[str]:
    folder.chmod(0o777)  # when root starts it, it becomes another user
    (folder / "squid.conf").write_text(
        f"include {folder}/site\n"
        f"pid_filename {folder}/pid\ncache_log {folder}/log\naccess_log none\ncoredump_dir {folder}\n"
        "visible_hostname localhost\npinger_enable off\nnetdb_filename none\nshutdown_lifetime 0 seconds\n"
        "cache_mem 8 MB\nmax_filedescriptors 1024\n"
    )
    return ["-N", "-d", "1", "-n", service(address.rpartition(":")[2]), "-f", str(folder / "squid.conf")]


def _varnish(folder: Path, address: str) -> list[str]:
    return [
        *("-F", "-j", "none", "-n", str(folder / "work"), "-a", address, "-f", str(folder / "site"), "-s", "malloc,8m"),
        *("-p", "cc_command=gcc -w -pthread -fpic -shared -o %o %s"),  # as it comes, but without optimising
        *("-p", "thread_pools=1", "-p", "thread_pool_min=20", "-t", "0", "-T", "none"),
    ]


NGINX: Final = Program("nginx", _nginx)
HAPROXY: Final = Program("haproxy", _haproxy)
SQUID: Final = Program("squid", _squid)
VARNISH: Final = Program("varnishd", _varnish)


def free_port() -> int:
    """Return a port of this machine that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Proxy:
    """One proxy that runs, in a folder of its own, in front of `application`, a port of this machine."""

    def __init__(self, program: Program, configuration: Path, application: int) -> None:
        """Write its configuration: the very file, but for the two ports. Skip the test if the program is missing."""
        path = shutil.which(program.command, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        if path is None:
            lack(f"{program.command} is not installed: make test does so, tools/programs.txt names the package")
        self.port: Final = free_port()
        self.url: Final = f"http://127.0.0.1:{self.port}"
        self._folder: Final = Path(tempfile.mkdtemp(prefix=f"hybridws-{program.command}-"))
        ports = {str(LISTENS): str(self.port), str(ASKS): str(application)}
        text = re.sub(rf"\b({LISTENS}|{ASKS})\b", lambda found: ports[found[0]], configuration.read_text())
        (self._folder / "site").write_text(text)
        self._program: Final = program
        self._command: Final = [str(path), *program.start(self._folder, f"127.0.0.1:{self.port}")]
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        """Start it, and wait until it listens."""
        try:
            await self.start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End it; tell what it said if the test has failed."""
        if error is not None:
            error.add_note(f"{self._command[0]} said:\n{self.said()}")
        await self.end()

    def said(self) -> str:
        """Return what the proxy has logged."""
        return "".join(
            file.read_text(errors="replace")[-4000:]
            for name in ("output", "log")
            if (file := self._folder / name).exists()
        )

    async def start(self) -> None:
        """Start it, and wait until it listens."""
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a moment
                self._command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0
            )
        async with asyncio.timeout(PATIENCE):
            while True:
                assert self._process.poll() is None, f"{self._command} ended at once: {self.said()}"
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(LOOK_EVERY)  # nobody tells us
                else:
                    writer.close()
                    await writer.wait_closed()
                    return

    async def restart(self) -> None:
        """Cut all its connections, by killing it and starting it again on the same port.

        Of varnish only the worker is killed, which its parent replaces at once: to start it all takes seconds.
        """
        assert self._process is not None
        if workers := self._workers():
            for worker in workers:
                os.kill(worker, signal.SIGKILL)
        else:
            self._signal(signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)
            await self.start()

    def _workers(self) -> list[int]:
        """Return the processes that do the work, where they are to be killed alone."""
        if self._program is not VARNISH or self._process is None:
            return []
        parent = self._process.pid
        return [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]

    async def end(self) -> None:
        """End it, with all the processes that it has started."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            await asyncio.to_thread(self._process.wait)
            self._process = None
        self._clear()

    def _clear(self) -> None:
        """Remove what it leaves behind."""
        for memory in SHARED_MEMORY.glob(f"{service(self.port)}-*"):
            memory.unlink()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        """Signal its whole group, which is its own."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


# ── what they do ──────────────────────────────────────────────────────────────────────────────────────────────────


class Case(NamedTuple):
    """One proxy with one configuration, and what is to be expected behind it."""

    program: Program
    configuration: Path
    passes: tuple[str, ...]
    """The native transports that pass, the best first: on the first a client settles that may use all."""
    forward: bool = False
    """Whether it stands before the client, which names it, and not before the server."""


ALL: Final = ("websocket", "stream", "poll")
OVER_HTTP: Final = ("stream", "poll")

CASES: Final = {
    "nginx, default": Case(NGINX, HERE / "nginx_default.conf", OVER_HTTP),
    "nginx, deaf": Case(NGINX, HERE / "nginx_deaf.conf", ("poll",)),
    "nginx, advised": Case(NGINX, EXAMPLES / "behind_nginx/site.conf", ALL),
    # Each part of a stream is late by 200 ms, so a client that may choose takes polls instead.
    "haproxy, default": Case(HAPROXY, HERE / "haproxy_default.cfg", ("websocket", "poll")),
    "haproxy, advised": Case(HAPROXY, EXAMPLES / "behind_haproxy/haproxy.cfg", ALL),
    "squid, default": Case(SQUID, HERE / "squid_accelerator_default.conf", OVER_HTTP),
    "squid, advised": Case(SQUID, EXAMPLES / "behind_squid/accelerator.conf", ALL),
    "squid forward, default": Case(SQUID, HERE / "squid_forward_default.conf", OVER_HTTP, forward=True),
    "squid forward, advised": Case(SQUID, EXAMPLES / "behind_squid/forward.conf", ALL, forward=True),
    "varnish, default": Case(VARNISH, HERE / "varnish_default.vcl", OVER_HTTP),
    "varnish, advised": Case(VARNISH, EXAMPLES / "behind_varnish/default.vcl", ALL),
}
"""By name; docs/proxies.md says the same in a table."""
