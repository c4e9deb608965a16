"""`/openapi.json`, and `/docs`: the same document as a page that needs nothing from elsewhere."""

import json
from functools import cached_property
from typing import Any

import jinja2
from quart import Response

from serve.api.http.openapi import document
from serve.api.settings import ApiSettings

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ info.title }} {{ info.version }}</title>
<style>
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
         padding: 0 1rem; }
  code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
  pre { padding: .8rem; overflow-x: auto; border: 1px solid #8886; border-radius: .4rem; }
  table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; }
  td, th { text-align: left; vertical-align: top; padding: .3rem .6rem;
           border-bottom: 1px solid #8884; }
  h2 { margin-top: 2.5rem; } h3 { margin-top: 2rem; }
  .method { text-transform: uppercase; font-weight: 600; }
</style>
<h1>{{ info.title }} {{ info.version }}</h1>
<p>{{ info.description }} The document behind this page: <a href="openapi.json">openapi.json</a>.
{% macro type_of(schema) %}
{%- if "$ref" in schema -%}
{%- set name = schema["$ref"].rsplit("/", 1)[1] -%}
<a href="#{{ name }}">{{ name }}</a>
{%- elif "anyOf" in schema or "oneOf" in schema -%}
{%- for inner in schema.get("anyOf", schema.get("oneOf")) -%}
{{ type_of(inner) }}{{ " or " if not loop.last }}
{%- endfor -%}
{%- elif "const" in schema -%}<code>{{ schema.const | tojson }}</code>
{%- elif "enum" in schema -%}
{%- for value in schema.enum -%}
<code>{{ value | tojson }}</code>{{ " or " if not loop.last }}
{%- endfor -%}
{%- elif schema.type == "array" -%}array of {{ type_of(schema["items"]) }}
{%- elif schema.additionalProperties is mapping -%}
map to {{ type_of(schema.additionalProperties) }}
{%- else -%}{{ schema.type or "anything" }}{%- endif -%}
{% endmacro %}
<h2>Routes</h2>
{% for path, operations in paths.items() %}{% for method, operation in operations.items() %}
<h3><span class="method">{{ method }}</span> <code>{{ path }}</code></h3>
<p>{{ operation.summary }}
{% for kind, body in operation.get("requestBody", {}).get("content", {}).items() %}
<p>Body ({{ kind }}): {{ type_of(body.schema) }}
<pre>{{ body.example | tojson(indent=2) }}</pre>
{% endfor %}
<table><tr><th>status</th><th>meaning</th><th>body</th></tr>
{% for status, response in operation.responses.items() %}
<tr><td>{{ status }}</td><td>{{ response.description }}</td><td>
{% for kind, body in response.content.items() %}{{ kind }}: {{ type_of(body.schema) }}
{{ body.schema.description }}<br>{% endfor %}</td></tr>
{% endfor %}</table>
{% endfor %}{% endfor %}
<h2>Objects</h2>
{% for name, schema in components.schemas.items() %}
<h3 id="{{ name }}">{{ name }}</h3>
<p>{{ schema.description }}
<table><tr><th>field</th><th>type</th><th></th><th>meaning</th></tr>
{% for field, property in schema.get("properties", {}).items() %}
<tr><td><code>{{ field }}</code></td><td>{{ type_of(property) }}</td>
<td>{{ "required" if field in schema.get("required", []) }}</td>
<td>{{ property.description }}</td></tr>
{% endfor %}</table>
{% endfor %}
</html>
"""


class DocsEndpoint:
    """The handlers. Both answers are made once, when they are first asked for."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings

    @cached_property
    def _document(self) -> dict[str, Any]:
        return document(self._settings)

    @cached_property
    def _html(self) -> str:
        environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        return environment.from_string(_PAGE).render(self._document)

    async def openapi(self) -> Response:
        """The OpenAPI document."""
        return Response(
            json.dumps(self._document, ensure_ascii=False), content_type="application/json"
        )

    async def page(self) -> Response:
        """The document as HTML."""
        return Response(
            self._html,
            content_type="text/html; charset=utf-8",
            headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
        )
