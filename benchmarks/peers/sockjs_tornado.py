"""sockjs-tornado."""

# The peer has an environment of its own.
# pyright: reportMissingImports=false, reportUntypedBaseClass=false

from __future__ import annotations

import sys
from typing import Any

# sockjs-tornado 1.0.7 takes these from where old Pythons had them.
import collections.abc  # isort: skip
import collections  # isort: skip

for _name in ("MutableMapping", "Mapping", "Callable"):
    setattr(collections, _name, getattr(collections.abc, _name))

from sockjs.tornado import SockJSConnection, SockJSRouter  # noqa: E402
from tornado import ioloop, web  # noqa: E402


class Echo(SockJSConnection):
    """One session."""

    members: set[Any] = set()  # noqa: RUF012 - shared on purpose

    def on_open(self, _info: Any) -> None:  # noqa: ANN401 - the peer has no types
        """Join."""
        self.members.add(self)

    def on_message(self, message: str) -> None:
        """Answer one message."""
        if message[0] == "B":
            self.broadcast(self.members, message)
        else:
            self.send(message)

    def on_close(self) -> None:
        """Leave."""
        self.members.discard(self)


router = SockJSRouter(Echo, "/echo")
web.Application(router.urls).listen(int(sys.argv[1]), address="127.0.0.1", backlog=1024)
ioloop.IOLoop.current().start()
