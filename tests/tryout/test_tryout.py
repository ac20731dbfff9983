"""What a plan asks is run on exactly the build's commit, and told as it is."""

import asyncio
import re
import shutil
import socket
from contextlib import closing
from pathlib import Path

import pytest

from auto_build.core.acceptance import ApiRequest, Item, ItemState, Page
from auto_build.core.plan import VerificationKind
from auto_build.core.verdict import WHOLE
from auto_build.settings import ServiceSettings
from tests.programs import alive_in
from tests.tryout.conftest import SHOP, Bench

PASSED, FAILED, UNVERIFIED = ItemState.PASSED, ItemState.FAILED, ItemState.UNVERIFIED


def command(line: str, expected: str = "") -> Item:
    kind = VerificationKind.COMMAND
    return Item(id=line, kind=kind, what=line, command=line, expected=expected)


def asked(name: str, request: ApiRequest) -> Item:
    return Item(id=name, kind=VerificationKind.API, what=name, request=request)


def page(name: str, url: str, *checks: str) -> Item:
    return Item(id=name, kind=VerificationKind.BROWSER, what=name, page=Page(url, checks))


def get(path: str, status: int | None = 200) -> ApiRequest:
    return ApiRequest("GET", f"http://localhost:8000{path}", status)


async def test_commands_are_run_and_told_apart(bench: Bench) -> None:
    person = Item(id="look", kind=VerificationKind.MANUAL, what="look", steps=("open it",))
    red = "echo 3 > new.txt; exit 3"
    found = await bench.try_out(
        command("test -f app.py"),
        command("cat app.py", "NO_SUCH_LINE"),
        command(red),
        command("exit 4"),
        command("cd . && no-such-program --now"),
        command("test ! -e new.txt"),
        person,
        standing={"exit 4": WHOLE},
    )
    states = {name: result.state for name, result in found.items()}
    assert states == {
        "test -f app.py": PASSED,
        "cat app.py": FAILED,
        red: FAILED,
        "exit 4": UNVERIFIED,
        "cd . && no-such-program --now": UNVERIFIED,
        "test ! -e new.txt": PASSED,
        "look": UNVERIFIED,
    }
    assert found[red].note == f"$ {red}: exit code 3"
    assert "red as before any chunk" in found["exit 4"].note
    assert found["cd . && no-such-program --now"].note.endswith("no-such-program is not installed")
    assert found["look"].note == "for a person: open it"

    again = await bench.try_out(command("test -f app.py"), services=[SHOP])
    assert list(again) == ["test -f app.py"]  # known: nothing was started for it
    assert "was green on the same tree" in again["test -f app.py"].note


async def test_requests_are_asked_of_the_services_of_this_commit(bench: Bench) -> None:
    shop = SHOP.model_copy(update={"replaces": ("http://localhost:8000", "http://127.0.0.1:8000")})
    admin = ServiceSettings(
        name="admin",
        command="exec python3 app.py $((AUTO_BUILD_PORT + 1))",
        port=1,
        replaces=("https://admin.example.org",),
    )
    order = ApiRequest(
        "POST",
        "http://127.0.0.1:8000/orders?x=1",
        201,
        body={"tea": 2},
        contains=("tea",),
        json_body={"got": {"tea": 2}, "as": "application/json"},
    )
    wrong = ApiRequest(
        "GET",
        "http://localhost:8000/orders",
        200,
        contains=("coffee",),
        json_body={"orders": [{"id": 4}], "count": 2, "page": 1},
    )
    found = await bench.try_out(
        asked("order", order),
        asked("wrong", wrong),
        asked("absent", get("/absent")),
        asked("moved", get("/old")),
        asked("moved as said", get("/old", 302)),
        asked("unfilled", get("/orders/{id}")),
        asked("second", ApiRequest("GET", "https://admin.example.org/orders", 200)),
        asked("elsewhere", ApiRequest("GET", "https://example.org/", 200)),
        command("curl -fsS http://localhost:8000/orders"),
        command('test -n "$AUTO_BUILD_PORT"'),
        services=[shop, admin],
    )
    assert {name: result.state for name, result in found.items()} == {
        "service shop": PASSED,
        "service admin": PASSED,
        "order": PASSED,
        "wrong": FAILED,
        "absent": FAILED,
        "moved": PASSED,
        "moved as said": PASSED,
        "unfilled": UNVERIFIED,
        "second": PASSED,
        "elsewhere": UNVERIFIED,
        "curl -fsS http://localhost:8000/orders": PASSED if shutil.which("curl") else UNVERIFIED,
        'test -n "$AUTO_BUILD_PORT"': PASSED,
    }
    here = f"http://localhost:{bench.port}"
    assert found["absent"].note == f"GET {here}/absent: status 404, expected 200"
    assert found["absent"].output == "nothing here"
    assert found["wrong"].note.partition(": ")[2].split("; ") == [
        "'coffee' is not in the answer",
        'answer.orders holds no {"id": 4}',
        "answer.count is 1, expected 2",
        "answer.page is missing",
    ]
    assert "may not make us talk to other hosts" in found["elsewhere"].note
    assert alive_in(Path(bench.seat.worktree)) == []


async def test_without_a_service_nothing_is_asked(bench: Bench) -> None:
    found = await bench.try_out(asked("orders", get("/orders")))
    assert found["orders"].state is UNVERIFIED
    assert "describe yours as [[qa.services]]" in found["orders"].note


@pytest.mark.parametrize(
    ("line", "ready", "limit_s", "note"),
    [
        ("echo starting; sleep 60", "tcp", 0.5, r"not ready within 0.5 s \(tcp \d+\)"),
        ("echo starting; exit 7", "/orders", 20.0, "ended with exit code 7 before it was ready"),
        ("echo starting; exec python3 app.py $PORT", "/orders", 20.0, ""),
    ],
)
async def test_a_service_that_is_not_ready_is_told_and_what_needs_it_is_not_tried(
    bench: Bench, line: str, ready: str, limit_s: float, note: str
) -> None:
    service = ServiceSettings(name="shop", command=line, ready=ready, ready_timeout_s=limit_s)
    second = ServiceSettings(name="admin", command="sleep 60", port=1, replaces=("http://a:1",))
    services = [service, second] if note else [service]

    found = await bench.try_out(
        asked("orders", get("/orders")), command("exit 9"), services=services
    )

    shop = found["service shop"]
    assert found["orders"].state is (UNVERIFIED if note else PASSED)
    assert found["exit 9"].state is (UNVERIFIED if note else FAILED)
    assert shop.state is (FAILED if note else PASSED)
    if note:
        assert re.fullmatch(note, shop.note)
        assert shop.output == "starting"
        assert found["orders"].note.startswith("service shop is not ready: ")
        assert found["service admin"].note == "not started: service shop is not ready"
    assert alive_in(Path(bench.seat.worktree)) == []


async def test_a_port_that_is_taken_is_told_and_held_against_nobody(bench: Bench) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", bench.port))
        other.listen()
        found = await bench.try_out(asked("orders", get("/orders")), services=[SHOP])
    assert found["service shop"].state is UNVERIFIED
    assert f"port {bench.port} is taken by another program" in found["service shop"].note


async def test_a_service_goes_with_whoever_needed_it(bench: Bench) -> None:
    """Trying out is stopped while a command waits: nothing of the service is left."""
    waits = command("touch ../begun; sleep 600")
    task = asyncio.create_task(bench.try_out(asked("o", get("/orders")), waits, services=[SHOP]))
    begun = Path(bench.seat.worktree).parent / "begun"
    async with asyncio.timeout(30):
        while not begun.exists():
            await asyncio.wait({task}, timeout=0.05)
    assert alive_in(Path(bench.seat.worktree)) != []
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert alive_in(Path(bench.seat.worktree)) == []


async def test_what_there_is_no_time_for_is_unverified(bench: Bench) -> None:
    found = await bench.try_out(
        command("sleep 60"), asked("orders", get("/orders")), command("true"), limit_min=0.005
    )
    states = {name: result.state for name, result in found.items()}
    assert states == dict.fromkeys(["sleep 60", "orders", "true"], UNVERIFIED)
    assert "no time left" in found["true"].note
