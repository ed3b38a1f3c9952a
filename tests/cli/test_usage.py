"""What the command says of itself, and to those who mistype."""

from __future__ import annotations

import pytest

from hybridws.cli import main


def test_all_networks_are_shown_without_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    """As the help of `--via` promises."""
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--via", "help"])
    assert caught.value.code == 0
    assert "hangs_and_buffers" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["serve", "chat:app", "--prot", "1"], ["demo", "--prot=1"]])
def test_a_slip_is_told_with_the_commands_own_usage(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What there is instead stands above it."""
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"usage: hybridws {command[0]}")
    assert "--port" in said
    assert f"hybridws {command[0]}: error: there is no --prot" in said
