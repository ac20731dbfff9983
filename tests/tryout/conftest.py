"""A project whose build is a small web service, in a worker slot of its own."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from auto_build.containment.firewall import Firewall
from auto_build.core.acceptance import Item, ItemResult
from auto_build.core.verdict import Standing
from auto_build.gate.trials import Trials
from auto_build.gate.verdicts import Verdicts
from auto_build.git.parse import Commit
from auto_build.git.repo import Repo
from auto_build.git.worktree import Worktrees
from auto_build.policy.environment import Environment
from auto_build.ports import first_port
from auto_build.process import Processes
from auto_build.settings import QaSettings, ServiceSettings, WorkspaceSettings
from auto_build.slots import Slots
from auto_build.tryout.tryout import Tryout
from tests.e2e.project import run_git

APP = """
import http.server, json, sys, time

class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/old":
            return self.answer(302, "", "text/plain", {"Location": "http://localhost:8000/orders"})
        if self.path == "/hangs":
            time.sleep(600)
        if self.path == "/away":
            return self.answer(302, "", "text/plain", {"Location": f"http://127.0.0.1:{sys.argv[1]}/page"})
        if self.path == "/orders":
            return self.answer(200, json.dumps({"orders": [{"id": 3, "paid": True}], "count": 1}))
        if self.path == "/page":
            return self.answer(200, "<h1>Welcome back</h1><p hidden>Sold out</p>", "text/html")
        if self.path == "/broken":
            return self.answer(200, "<script>console.error('oh no')</script>", "text/html")
        return self.answer(404, "nothing here")

    def do_POST(self):
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.answer(201, json.dumps({"got": json.loads(sent), "as": self.headers["Content-Type"]}))

    def answer(self, status, text, kind="application/json", headers={}):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

print("serving", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Shop).serve_forever()
"""
SHOP = ServiceSettings(name="shop", command="exec python3 app.py {port}", ready="/orders")


class Bench:
    """Tries things on a commit of the project, and keeps what was said meanwhile."""

    def __init__(self, repo: Repo, folder: Path, head: Commit) -> None:
        logs = folder / "logs"
        logs.mkdir()
        firewall = Firewall(folder / "hooks", repo.common_dir)
        firewall.write()
        self.head = head
        self.port = first_port(repo.project, 10)
        self.evidence = folder / "evidence"
        self.said: list[str] = []
        slots = Slots(
            worktrees=Worktrees(repo),
            firewall=firewall,
            environment=Environment(os.environ, first_port=self.port, ports=10),
            settings=WorkspaceSettings(),
            spec="001-shop",
            logs=logs,
            notice=lambda _, text: self.said.append(text),
        )
        self.trials = Trials(
            repo=repo,
            slots=slots,
            verdicts=Verdicts(folder / "verdicts.db"),
            limit_s=30.0,
            log=logs / "gate.log",
            notice=lambda _, text: self.said.append(text),
        )
        self.seat = slots.seat(1)

    async def try_out(
        self,
        *items: Item,
        services: Sequence[ServiceSettings] = (),
        standing: dict[str, Standing] | None = None,
        browser: str = "",
        limit_min: float = 5.0,
    ) -> dict[str, ItemResult]:
        """Try items on the project's commit and return the results by id."""
        tryout = Tryout(
            trials=self.trials,
            settings=QaSettings(
                services=tuple(services), browser=browser, tryout_timeout_min=limit_min
            ),
            notice=lambda _, text: self.said.append(text),
            evidence=self.evidence,
        )
        found = await tryout.run(items, self.head, self.seat, standing or {})
        return {result.item: result for result in found}


@pytest.fixture
async def bench(tmp_path: Path) -> Bench:
    project = tmp_path / "my pröject"
    project.mkdir()
    run_git(project, "init", "-q", "-b", "main")
    run_git(project, "config", "user.name", "Ada")
    run_git(project, "config", "user.email", "ada@example.org")
    (project / "app.py").write_text(APP)
    run_git(project, "add", "-A")
    run_git(project, "commit", "-q", "-m", "A shop")
    repo = await Repo.open(project, Processes())
    return Bench(repo, tmp_path, await repo.require_user_head())
