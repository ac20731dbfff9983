"""A URL of a plan leads to the service that stands for it, and to nothing else."""

import pytest

from auto_build.tryout.addresses import Address, Nowhere, fill, resolve

ONE = (Address("web", "http://localhost:20000"),)
TWO = (
    Address("web", "http://localhost:20000", ("http://localhost:3000",)),
    Address("api", "http://localhost:20001", ("http://localhost:8080/api/v1", "https://api.a.io")),
)
NARROW = (Address("web", "http://localhost:20000", ("http://localhost:3000/",)),)


@pytest.mark.parametrize(
    ("url", "services", "place"),
    [
        ("http://localhost:8000/a?b=1#c", ONE, "http://localhost:20000/a?b=1#c"),
        ("http://127.0.0.1/a", ONE, "http://localhost:20000/a"),
        ("https://[::1]:8443", ONE, "http://localhost:20000"),
        ("http://0.0.0.0:5000/", ONE, "http://localhost:20000/"),
        ("/health", ONE, "http://localhost:20000/health"),
        ("http://localhost:3000/x", TWO, "http://localhost:20000/x"),
        ("http://localhost:8080/api/v1/x", TWO, "http://localhost:20001/x"),
        ("http://localhost:8080/api/v1", TWO, "http://localhost:20001"),
        ("https://api.a.io?x=1", TWO, "http://localhost:20001?x=1"),
        ("http://localhost:20001/x", TWO, "http://localhost:20001/x"),
        ("http://localhost:8080/api/v10", TWO, "no service stands for http://localhost:8080:"),
        ("http://localhost:30000/x", TWO, "no service stands for http://localhost:30000:"),
        ("https://api.a.io.evil.org/", TWO, "may not make us talk to other hosts"),
        ("http://localhost:3000/x", NARROW, "http://localhost:20000/x"),
        ("http://localhost:11434/api", NARROW, "no service stands for http://localhost:11434:"),
        ("http://localhost:8000/a", (), "no service is set"),
        ("http://user@10.0.0.1/a", ONE, "may not make us talk to other hosts"),
        ("//example.org/a", ONE, "only http is"),
        ("chrome-extension://[id]/a.html", ONE, "is no address"),
        ("file:///etc/passwd", ONE, "only http is"),
        ("http://localhost:8000/a/{id}", ONE, "is no address yet"),
        ("http://localhost:8000/a/:id", ONE, "is no address yet"),
    ],
)
def test_where_a_url_leads(url: str, services: tuple[Address, ...], place: str) -> None:
    found = resolve(url, services)
    if isinstance(found, Nowhere):
        assert place in found.why
    else:
        assert found == place


def test_urls_in_a_command_lead_to_the_service_and_the_rest_stays() -> None:
    line = "curl -s 'http://localhost:8000/a?x=$ID' | jq . && curl https://example.org/$X"
    assert fill(line, ONE) == (
        "curl -s 'http://localhost:20000/a?x=$ID' | jq . && curl https://example.org/$X"
    )
    assert fill(line, ()) == line
