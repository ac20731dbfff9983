"""A small agent that speaks the Agent Client Protocol and plays what it is told: no model, no
network, nothing but the standard library. Run as `python echo_acp.py FOLDER`.

In the folder lies `scene.json`: what it does at its first prompt, and at its second; and how it
answers requests, where not as usual. It writes there what it hears (`heard.txt`), what it has used
up (`served.txt`, a line a request), all that goes to and fro (`wire.jsonl`), and its conversations
(`sessions/`). Refused something, it ends its prompt and goes on at the next.
"""

import json
import os
import signal
import subprocess  # noqa: TID251 - this is the agent's own doing, not ours
import sys
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

Json = dict[str, Any]
FOLDER = Path(sys.argv[1])
PIECE = 64 * 1024
USAGE = {"inputTokens": 100, "outputTokens": 10, "totalTokens": 110}
ERRORS = {
    "auth": (-32000, "Authentication required"),
    "rate-limit": (-32603, "429 Too Many Requests: try again in 20s"),
    "overloaded": (-32603, "503 the model is overloaded"),
    "context-full": (-32603, "context_length_exceeded: this is too long"),
    "agent-error": (-32603, "it cannot"),
}
STOPS = {"refused": "refusal", "max-turns": "max_turn_requests"}


class Cancelled(Exception):
    """The client wants no more."""


class Refused(Exception):
    """The client does not allow it."""


class Wrong(Exception):
    """The prompt ends with an error."""


class Echo:
    """One program, with at most one conversation."""

    def __init__(self) -> None:
        scene = json.loads((FOLDER / "scene.json").read_text(encoding="utf-8"))
        self.turns: list[list[Json]] = [scene["first"], scene["then"]]
        self.answers_to: Json = scene.get("answers", {})
        self.errors_to: Json = scene.get("errors", {})
        self.deaf_to: list[str] = scene.get("deaf", [])
        self.left: list[Json] = []
        self.session = ""
        self.cwd = "."
        self.numbers = 0
        self.answers: dict[int, Json] = {}
        self.news = threading.Condition()
        self.cancelled = False
        self.turn: threading.Thread | None = None
        self.writing = threading.Lock()

    # --- the protocol -----------------------------------------------------------------------------

    def serve(self) -> None:
        """Answer until nobody asks any more."""
        for line in sys.stdin:
            message = json.loads(line)
            self.note({"in": message})
            if "method" not in message:
                with self.news:
                    self.answers[message["id"]] = message.get("result") or {}
                    self.news.notify_all()
            elif message["method"] == "session/cancel":
                with self.news:
                    self.cancelled = True
                    self.news.notify_all()
            else:
                self.take(message["method"], message["params"], message["id"])

    def take(self, method: str, told: Json, number: int) -> None:
        if method in self.deaf_to:
            return
        if method in self.errors_to:
            self.send({"id": number, "error": self.errors_to[method]})
            return
        match method:
            case "initialize":
                meta = {"steering": {"supported": True}}
                can = {"loadSession": True}
                hello = {"protocolVersion": 1, "agentCapabilities": can, "_meta": meta}
                self.reply(number, {**hello, **self.answers_to.get(method, {})})
            case "session/new":
                self.cwd, self.session = told["cwd"], str(uuid4())
                self.note_prompts(0)
                self.reply(number, {"sessionId": self.session, **self.answers_to.get(method, {})})
            case "session/load":
                self.load(told, number)
            case "_session/steering":
                runs = self.turn is not None and self.turn.is_alive()
                if runs:
                    self.hear(told["prompt"][0]["text"])
                self.reply(number, {"outcome": "injected" if runs else "promptRequired"})
            case "session/prompt":
                self.cancelled = False
                self.hear(told["prompt"][0]["text"])
                self.turn = threading.Thread(target=self.play, args=(number,), daemon=True)
                self.turn.start()
            case (
                "session/set_mode"
                | "session/set_model"
                | "session/set_config_option"
                | "session/set_title"
            ):
                self.reply(number, {})
            case _:
                self.send({"id": number, "error": {"code": -32601, "message": "Method not found"}})

    def load(self, told: Json, number: int) -> None:
        if told["sessionId"] == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if "session/load" in self.answers_to:  # it says that it knows it, and does not
            self.reply(number, self.answers_to["session/load"])
            return
        if not self.record(told["sessionId"]).exists():
            self.send({"id": number, "error": {"code": -32002, "message": "Resource not found"}})
            return
        self.cwd, self.session = told["cwd"], told["sessionId"]
        self.say("what was said earlier\n")
        self.reply(number, {})
        self.say("some of it late\n", usage=USAGE)

    def send(self, message: Json) -> None:
        whole = {"jsonrpc": "2.0", **message}
        self.note({"out": whole})
        self.print(json.dumps(whole))

    def print(self, line: str) -> None:
        with self.writing:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    def note(self, message: Json) -> None:
        with (FOLDER / "wire.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(message) + "\n")

    def reply(self, number: int, result: Json) -> None:
        self.send({"id": number, "result": result})

    def update(self, kind: str, **fields: Any) -> None:
        told = {"sessionId": self.session, "update": {"sessionUpdate": kind, **fields}}
        self.send({"method": "session/update", "params": told})

    def ask(self, method: str, told: Json) -> Json:
        with self.news:
            self.numbers += 1
            number = self.numbers
            self.send({"id": number, "method": method, "params": told})
            self.news.wait_for(lambda: number in self.answers)
            return self.answers.pop(number)

    # --- conversations ----------------------------------------------------------------------------

    def record(self, session: str) -> Path:
        return FOLDER / "sessions" / session

    def note_prompts(self, count: int) -> None:
        self.record(self.session).parent.mkdir(exist_ok=True)
        self.record(self.session).write_text(str(count), encoding="utf-8")

    def hear(self, text: str) -> None:
        with (FOLDER / "heard.txt").open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    # --- a prompt ---------------------------------------------------------------------------------

    def play(self, number: int) -> None:
        if not self.left:
            prompts = int(self.record(self.session).read_text(encoding="utf-8"))
            self.note_prompts(prompts + 1)
            self.left = list(self.turns[min(prompts, 1)])
        stop = "end_turn"
        try:
            while self.left:
                self.spend()
                stop = self.do(self.left.pop(0)) or stop
        except Refused:
            stop = "end_turn"
        except Cancelled:
            self.left.clear()
            stop = "cancelled"
        except Wrong as wrong:
            code, text = wrong.args
            self.send({"id": number, "error": {"code": code, "message": text}})
            return
        self.reply(number, {"stopReason": stop})

    def spend(self) -> None:
        with (FOLDER / "served.txt").open("a", encoding="utf-8") as file:
            file.write("1\n")
        self.say("", usage=USAGE)

    def do(self, deed: Json) -> str:
        """Do something; return why the prompt ends, where it does."""
        match deed["do"]:
            case "say":
                for at in range(0, len(deed["text"]), PIECE):
                    self.say(deed["text"][at : at + PIECE])
            case "write":
                self.write(deed["path"], deed["text"])
            case "run":
                self.run(deed["command"])
            case "print":
                self.print(deed["line"])
            case "wait":
                with self.news:
                    self.news.wait_for(lambda: self.cancelled)
                raise Cancelled
            case "end":
                return self.end(deed["stop"])
            case _:
                raise ValueError(deed)
        return ""

    def end(self, stop: str) -> str:
        if stop == "crashed":
            os.kill(os.getpid(), signal.SIGSEGV)
        if stop in STOPS:
            return STOPS[stop]
        raise Wrong(*ERRORS[stop])

    def say(self, text: str, **meta: Any) -> None:
        content = {"type": "text", "text": text}
        self.update("agent_message_chunk", content=content, **({"_meta": meta} if meta else {}))

    def write(self, path: str, text: str) -> None:
        where = str(Path(self.cwd) / path)
        diff = {"type": "diff", "path": where, "oldText": None, "newText": text}
        tool = self.require("edit", f"Writing {path}", content=[diff], locations=[{"path": where}])
        Path(where).parent.mkdir(parents=True, exist_ok=True)
        Path(where).write_text(text, encoding="utf-8")
        self.update("tool_call_update", toolCallId=tool, status="completed")

    def run(self, command: str) -> None:
        tool = self.require("execute", command, rawInput={"command": command})
        started = subprocess.Popen(
            ("sh", "-c", command),
            cwd=self.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        while started.poll() is None:
            with self.news:
                if self.news.wait_for(lambda: self.cancelled, timeout=0.02):
                    os.killpg(started.pid, signal.SIGKILL)
                    started.wait()
                    raise Cancelled
        self.update("tool_call_update", toolCallId=tool, status="completed")

    def require(self, kind: str, title: str, **fields: Any) -> str:
        """Ask for permission; the tool is told of only by that, as some agents do it."""
        tool = str(uuid4())
        call = {"toolCallId": tool, "kind": kind, "title": title, "status": "pending", **fields}
        options = [
            {"optionId": "always", "name": "Always", "kind": "allow_always"},
            {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
            {"optionId": "no", "name": "No", "kind": "reject_once"},
        ]
        told = {"sessionId": self.session, "toolCall": call, "options": options}
        outcome = self.ask("session/request_permission", told)["outcome"]
        if outcome.get("optionId") != "yes":
            self.update("tool_call_update", toolCallId=tool, status="failed")
            raise Cancelled if outcome["outcome"] == "cancelled" else Refused
        return tool


if __name__ == "__main__":
    Echo().serve()
