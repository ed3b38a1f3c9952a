"""A Python client: sends, asks, and tells how it is carried. Start examples/echo.py first, then this.

python examples/python_client.py [http://127.0.0.1:8080/echo]
"""

from __future__ import annotations

import asyncio
import sys

import hybridws

ECHO = "http://127.0.0.1:8080/echo"
MESSAGES = 100


async def main(url: str) -> None:
    """Send a hundred messages of three sorts, and count what comes back."""
    async with hybridws.connect(url, open_timeout=5) as session:
        print(f"open, over {session.transport}")

        async def say() -> None:
            for number in range(MESSAGES):
                await session.send([f"text {number}", {"number": number}, b"\x00" * number][number % 3])
                await asyncio.sleep(0.01)

        saying = asyncio.create_task(say())
        came = 0
        async for message in session:  # whatever happens to the network meanwhile
            came += 1
            if came == MESSAGES:
                print(f"the last of {came}: {message!r}, over {session.transport}")
                break
        await saying
        print("carried by", ", then ".join(stay.name for stay in session.transports))


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if sys.argv[1:] else ECHO))
    except hybridws.CannotConnect as error:
        sys.exit(f"{error}. Start the server first: python examples/echo.py")
