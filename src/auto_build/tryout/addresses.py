"""Where a URL of a plan is asked: of a service that was started for it, or nowhere. Pure.

A plan says `http://localhost:8000`, where a developer's own service may be listening; what is asked
is always the service of the commit that is tried out, at its port. No other host is ever asked.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from auto_build.settings import FILE

_PLACEHOLDER: Final = re.compile(r"[{}<>]|\$\w|/:[A-Za-z]")  # {id}, <id>, $ID, /:id
_IN_A_LINE: Final = re.compile(r"https?://[^\s'\"`|;&<>()\\]+")
_END: Final = ("", "/", "?", "#")


@dataclass(frozen=True, slots=True)
class Address:
    """A service's own URL, and the beginnings of those that plans write for it."""

    name: str
    url: str
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Nowhere:
    """Why a URL is not asked."""

    why: str


def resolve(url: str, services: Sequence[Address]) -> str | Nowhere:
    """Return the URL that is asked for one that a plan names."""
    if found := _PLACEHOLDER.search(url):
        return Nowhere(f"{url} is no address yet: it has {found[0]!r} to be filled in")
    return _place(url, services)


def fill(command: str, services: Sequence[Address]) -> str:
    """Return a command line in which each URL that a service stands for leads to it."""

    def placed(found: re.Match[str]) -> str:
        place = _place(found[0], services)
        return found[0] if isinstance(place, Nowhere) else place

    return _IN_A_LINE.sub(placed, command) if services else command


def _place(url: str, services: Sequence[Address]) -> str | Nowhere:
    if not services:
        return Nowhere(f"no service is set: describe yours as [[qa.services]] in {FILE}")
    if url.startswith("/") and not url.startswith("//"):
        return services[0].url + url
    known = [
        (begin.rstrip("/"), service)
        for service in services
        for begin in (service.url, *service.replaces)
    ]
    for begin, service in sorted(known, key=lambda one: -len(one[0])):
        if url.startswith(begin) and url[len(begin) : len(begin) + 1] in _END:
            return service.url + url[len(begin) :]
    return _by_host(url, services)


def _by_host(url: str, services: Sequence[Address]) -> str | Nowhere:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return Nowhere(f"{url} is no address")
    if parts.scheme not in {"http", "https"}:
        return Nowhere(f"{url} cannot be asked: only http is")
    if not is_loopback(host):
        return Nowhere(f"{url} is not asked: a plan may not make us talk to other hosts")
    if len(services) == 1 and not services[0].replaces:
        query = f"?{parts.query}" if parts.query else ""
        hash_ = f"#{parts.fragment}" if parts.fragment else ""
        return f"{services[0].url}{parts.path}{query}{hash_}"
    begin = f"{parts.scheme}://{parts.netloc}"
    return Nowhere(f"no service stands for {begin}: name it in replaces of one of [[qa.services]]")


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine, as plans call it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified  # people write 0.0.0.0, too
