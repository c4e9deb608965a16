import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from serve.api.wire.request import ChatRequest


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


async def test_document(house: Any) -> None:
    response = await house.get("/openapi.json")
    document = await response.get_json()
    assert response.status_code == 200
    assert document["openapi"] == "3.1.0"
    schemas = document["components"]["schemas"]
    names = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert names <= set(schemas)
    assert {"ChatRequest", "ChatCompletion", "ChatCompletionChunk", "ErrorBody"} <= names
    assert set(schemas["ChatRequest"]["properties"]) == set(ChatRequest.model_fields)
    assert schemas["ChatRequest"]["required"] == ["messages", "model"]
    assert schemas["ChatRequest"]["additionalProperties"] is False
    assert all("description" in p for p in schemas["ChatRequest"]["properties"].values())
    formats = ["wav", "aac", "mp3", "flac", "opus", "pcm16"]
    assert schemas["AudioOutput"]["properties"]["format"]["enum"] == formats


async def test_every_route_is_described(house: Any) -> None:
    document = await (await house.get("/openapi.json")).get_json()
    served = {
        re.sub(r"<(?:path:)?(\w+)>", r"{\1}", rule.rule)
        for rule in house.app.url_map.iter_rules()
        if rule.rule not in ("/openapi.json", "/docs")
    }
    described = set(document["paths"])
    without_prefix = {path.removeprefix("/v1") for path in described}
    assert served == described | without_prefix
    ids = [op["operationId"] for item in document["paths"].values() for op in item.values()]
    assert len(ids) == len(set(ids))


async def test_chat_operation_has_stream_and_errors(house: Any) -> None:
    document = await (await house.get("/openapi.json")).get_json()
    responses = document["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert set(responses) == {"200", "400", "401", "404", "408", "413", "415", "429", "500", "503"}
    assert set(responses["200"]["content"]) == {"application/json", "text/event-stream"}
    for status, response in responses.items():
        if status != "200":
            schema = response["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorBody"}
    assert "Retry-After" in responses["429"]["headers"]


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe")
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            if name == "href":
                self.links.add(value or "")


async def test_docs_page_needs_nothing_from_elsewhere(house: Any) -> None:
    response = await house.get("/docs")
    html = (await response.get_data()).decode()
    page = Page()
    page.feed(html)
    assert response.content_type == "text/html; charset=utf-8"
    assert {link.removeprefix("#") for link in page.links} <= page.ids | {"openapi.json"}
    assert "//" not in html
    for field in ChatRequest.model_fields:
        assert f"<code>{field}</code>" in html
