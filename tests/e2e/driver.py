"""A coordinator in a process of its own, to be killed: `python driver.py FOLDER SPEC WORKERS`.

Prints one JSON object per line for each event as soon as it is journaled, at the end the labels of
all chunks; where the run is refused, the error and its exit code.
"""

import asyncio
import json
import sys
from typing import Any

from auto_build import AutoBuildError, Record, SwarmCoordinator, Update


def main(folder: str, spec: str, workers: str) -> int:
    def tell(update: Update) -> None:
        if isinstance(update.what, Record):
            event = update.what.event
            chunk = getattr(event, "chunk", "")
            put({"seq": update.what.seq, "event": type(event).__name__, "chunk": chunk})

    coordinator = SwarmCoordinator(folder, spec, max_workers=int(workers), on_update=tell)
    try:
        view = asyncio.run(coordinator.run())
    except AutoBuildError as error:
        put({"error": str(error), "hint": error.hint})
        return error.exit_code
    put({"labels": {row.id: row.label.value for row in view.rows}})
    return 0 if view.complete else 1


def put(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
