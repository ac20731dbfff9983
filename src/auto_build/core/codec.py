"""Events to plain JSON values and back: the form in which the journal keeps them."""

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import Any, Final, get_args

from pydantic import TypeAdapter

from auto_build.core import events
from auto_build.core.document import Json


def encode_event(event: events.Event) -> dict[str, Json]:
    """Return an event as plain JSON values, its type under `type`."""
    body: dict[str, Json] = _adapter(type(event).__name__).dump_python(event, mode="json")
    return {"type": type(event).__name__, **body}


def decode_event(value: Mapping[str, Json]) -> events.Event:
    """Return the event that `encode_event` wrote.

    Raises:
        ValueError: its type or its fields are unknown; the journal is of a later version.
    """
    body = dict(value)
    name = body.pop("type", None)
    if not isinstance(name, str) or name not in _EVENTS:
        raise ValueError(f"unknown event type {name!r}")
    if unknown := body.keys() - {one.name for one in fields(_EVENTS[name])}:
        raise ValueError(f"unknown fields of {name}: {', '.join(sorted(unknown))}")
    event: events.Event = _adapter(name).validate_python(body)
    return event


_EVENTS: Final[Mapping[str, type[events.Event]]] = {
    kind.__name__: kind for kind in (*get_args(events.RunEvent), *get_args(events.ChunkEvent))
}


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    """Return what reads and writes a kind of event; made when the first of its kind is met."""
    return TypeAdapter(_EVENTS[name])
