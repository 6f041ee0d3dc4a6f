"""The inspector in the example."""

from __future__ import annotations

from pathlib import Path

from tests.examples.serving import App, serving


def test_inspector_is_off(served: App) -> None:
    """By itself the example has no inspector."""
    with served.client() as client:
        assert client.get("/inspector/").status_code == 404


def test_inspector_for_this_machine(tmp_path: Path) -> None:
    """With INSPECTOR=1 there is one, for browsers on this machine, and not for names that lead there from elsewhere."""
    with serving(tmp_path, {"INSPECTOR": "1"}) as app, app.client() as client:
        assert client.get("/inspector/").status_code == 200
        assert client.get("/inspector/streams").json()["found"] == 0
        for headers in ({"host": "elsewhere.example"}, {"x-forwarded-for": "192.0.2.1"}):
            assert client.get("/inspector/streams", headers=headers).status_code == 403
