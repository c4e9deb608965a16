"""A server with all tiers, over HTTP, and again after a restart."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from support.server_process import end_server, start_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SMALL = ("--rows", "2", "--context", "256", "--prefill-chunk", "32", "--cache-tokens", "256")
LONG = "One by one the ships came home. " * 12


def ask(url: str, key: str, text: str, **fields: Any) -> tuple[str, int]:
    """An answer, and how many tokens of its prompt were found."""
    messages = [{"role": "user", "content": text}]
    body = {"model": "m", "messages": messages, "max_tokens": 8, "temperature": 0, **fields}
    headers = {"Authorization": f"Bearer {key}"}
    response = httpx.post(f"{url}/chat/completions", json=body, headers=headers, timeout=120)
    answer = response.raise_for_status().json()
    found = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    return answer["choices"][0]["message"]["content"], found


def test_pages_come_back_within_a_key_and_over_a_restart(
    tmp_path: Path, compile_cache: Path
) -> None:
    """With `prompt_cache_key` and `prompt_cache_retention`."""
    keys = tmp_path / "keys"
    keys.write_text("mine\nyours\n")
    flags = ("--model-id", "m", "--api-key-file", str(keys), *SMALL)
    flags += ("--host-cache-bytes", str(2**26), "--cache-dir", str(tmp_path / "pages"))
    days = {"prompt_cache_key": "ships", "prompt_cache_retention": "24h"}
    server = start_server(compile_cache, *flags)
    try:
        cold, none = ask(server.url, "mine", LONG, **days)
        assert none == 0
        assert ask(server.url, "yours", LONG)[1] == 0
        again, warm = ask(server.url, "mine", LONG, **days)
        for number in range(3):
            ask(server.url, "yours", f"{number} {LONG}")
        later, from_host = ask(server.url, "mine", LONG, **days)
        assert again == later == cold
        assert warm == from_host > 50
        server.wait_idle(60)
    finally:
        end_server(server)
    server = start_server(compile_cache, *flags)
    try:
        restarted, from_directory = ask(server.url, "mine", LONG, **days)
        assert (restarted, from_directory) == (cold, warm)
        assert ask(server.url, "yours", LONG)[1] == 0
        hits = 'parlance_prompt_cache_hit_tokens_total{class="grouped",tier="directory"}'
        text = httpx.get(f"{server.root}/metrics", timeout=30).text
        assert f"{hits} {float(warm)}\n" in text
        assert server.metric("parlance_engine_compilations_total") == 0
    finally:
        end_server(server)
