"""The published JSON Schema of plan files."""

import json
from importlib.resources import files
from typing import Any


def load_plan_schema() -> dict[str, Any]:
    """Return the schema of our own dialect of `implementation_plan.json` (draft 2020-12)."""
    text = files(__name__).joinpath("implementation_plan.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
