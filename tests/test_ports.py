"""Each project has ports of its own, and none that somebody uses."""

import socket
from pathlib import Path

import pytest

from auto_build.errors import EnvironmentUnfit
from auto_build.ports import first_port, is_free

HERE, THERE = Path("/p/here"), Path("/p/there")


def test_projects_begin_at_different_places_and_each_always_at_its_own() -> None:
    first = first_port(HERE, 30, lambda _: True)
    assert first == first_port(HERE, 30, lambda _: True)
    assert first != first_port(THERE, 30, lambda _: True)


def test_a_block_in_which_one_port_is_used_is_passed_over() -> None:
    taken = first_port(HERE, 30, lambda _: True) + 7
    found = first_port(HERE, 30, lambda port: port != taken)
    assert taken not in range(found, found + 30)


def test_all_ports_are_below_those_that_systems_give_out() -> None:
    for needed in (1, 30, 640, 6400):
        first = first_port(HERE, needed, lambda _: True)
        assert first >= 20_000
        assert first + needed <= 32_768


def test_where_none_are_free_that_is_said() -> None:
    with pytest.raises(EnvironmentUnfit, match="no 30 free ports in a row"):
        first_port(HERE, 30, lambda _: False)


def test_who_wants_no_ports_gets_none() -> None:
    assert first_port(HERE, 0, lambda _: False) == 0


def test_a_port_that_is_listened_on_is_not_free() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)
