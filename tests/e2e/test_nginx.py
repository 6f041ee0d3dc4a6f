"""nginx in front of the chat server, set up as the page on deployment says."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.e2e.serving import ROOT, serving
from tests.servers import free_port
from tests.web import wait_until_served

PAGE = ROOT / "docs" / "how-to" / "deploy.md"
AROUND = """
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    gzip on; gzip_types application/json;
    server {{
        listen 127.0.0.1:{port};
        {location}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, upstream: str) -> Iterator[str]:
    """Run nginx with what the page says, before one address, and yield its own."""
    executable = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    assert executable, "this test needs nginx: apt-get install nginx-light"
    (location,) = re.findall(r"^```nginx\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert "http://127.0.0.1:8000" in location
    port = free_port()
    settings = folder / "nginx.conf"
    settings.write_text(AROUND.format(port=port, location=location.replace("http://127.0.0.1:8000", upstream)))
    log = folder / "nginx.log"
    with log.open("wb") as output:
        process = subprocess.Popen([executable, "-p", folder, "-c", settings], stderr=output)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_served(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


@pytest.fixture(scope="module")
def slow_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose answers take their time."""
    with serving(tmp_path_factory.mktemp("slow"), {"E2E_PACE": "0.25"}) as workers:
        yield workers[0].url


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_events_pass_at_once(slow_worker: str, tmp_path: Path, encoding: str) -> None:
    """Events come while the answer is made, a connection that is dropped stops nothing, and a resume is exact."""
    chat = f"chat-{uuid4().hex}"
    message = {"id": "question", "role": "user", "parts": [{"type": "text", "text": "count 12 sheep"}]}
    headers = {"accept-encoding": encoding}
    with nginx(tmp_path, slow_worker) as address, httpx.Client(base_url=address, trust_env=False) as client:
        seen = ""
        body = {"id": chat, "message": message}
        with client.stream("POST", "/api/chat", json=body, headers=headers) as response:
            assert response.status_code == 200
            stream = response.headers["x-resumable-stream-id"]
            for text in response.iter_text():
                seen += text
                if "sheep2 " in seen:
                    break
        assert client.get(f"/api/chats/{chat}").json()["activeStreamId"] == stream, "it came only when all was made"
        seen = seen[: seen.rindex("\n\n") + 2]
        last = re.findall(r"^id: (.*)$", seen, re.MULTILINE)[-1]
        rest = client.get(f"/api/chat/{stream}/stream", headers={**headers, "last-event-id": last}, timeout=30).text
        whole = client.get(f"/api/chat/{stream}/stream", headers=headers).text
    assert seen + rest == whole
    assert whole.endswith("data: [DONE]\n\n")
