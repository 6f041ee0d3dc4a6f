"""What only frameworks have that are not asynchronous: answers that block."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integrations.serving import serving


@pytest.mark.parametrize("app", ["flask", "django_wsgi"])
def test_answers_may_block(app: str, tmp_path: Path) -> None:
    """An answer that is a plain generator, and sleeps, is made in a thread, while the server answers others."""
    with serving("gunicorn", app, tmp_path) as served, served.client() as client:
        message = {"role": "user", "parts": [{"type": "text", "text": "count 5"}]}
        client.post("/api/chat", json={"id": "thread", "message": message})
        loaded = client.get("/api/chats/thread").json()
        assert loaded["messages"][1]["parts"][-1]["text"] == "1 2 3 4 5 "
        long = {"role": "user", "parts": [{"type": "text", "text": "count 100000"}]}
        with client.stream("POST", "/api/chat", json={"id": "thread", "message": long}) as response:
            assert response.status_code == 200
            assert client.post("/api/chat/thread/stop").json() == {"stopped": True}
            assert list(response.iter_lines())[-2] == "data: [DONE]"
