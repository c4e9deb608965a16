"""The places of a request, found by walking the JSON schema of its body.

A place is where a value stands: a list, an object, a text, a number, free JSON. Each comes with the
JSON before and after it that makes the rest of the body as short as is valid. Knows nothing of
what is to be put there.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Node = Mapping[str, Any]
Kind = Literal["array", "object", "map", "free", "string", "number", "other"]

# Where a short valid value has a text of its own choice; a number can be put for it.
NUMBERED = "\N{SYMBOL FOR UNIT SEPARATOR}"

_CALL = '{"id":"a","type":"function","function":{"name":"a","arguments":"{}"}}'
_TOOLS = '"tools":[{"type":"function","function":{"name":"a"}}],'
_FORM = ('"structured_outputs":{', '"regex":"a",')
_SAYING = ('{"role":"assistant",', '"content":"a",')
_OF_ANSWERS = (
    *("annotations", "cache_control", "name", "parsed"),
    *("provider_specific_fields", "reasoning_details", "thinking_blocks"),
)
# What else a request needs to be valid with something in these places, and what that stands after.
_COMPANIONS = {
    "audio": ("{", '"modalities":["audio"],'),
    "function_call": ("{", '"functions":[{"name":"a"}],'),
    **{f"messages[assistant].{field}": _SAYING for field in _OF_ANSWERS},
    "messages[user].content[file].file.filename": ('"file":{', '"file_data":"YQ==",'),
    "messages[tool]": ('"messages":[', f'{{"role":"assistant","tool_calls":[{_CALL}]}},'),
    "parallel_tool_calls": ("{", _TOOLS),
    "stream_options": ("{", '"stream":true,'),
    "structured_outputs.disable_": _FORM,
    "structured_outputs.structural_tag": _FORM,
    "structured_outputs.whitespace_pattern": _FORM,
    "tool_choice": ("{", _TOOLS),
    "tool_choice[custom]": ("{", '"tools":[{"type":"custom","custom":{"name":"a"}}],'),
    "top_logprobs": ("{", '"logprobs":true,'),
}
# Objects, by title, that need one of several members.
_ONE_OF = {"FileContent": '{"file_data":"YQ=="}'}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands.

    Attributes:
        name: its path; what stands in a list or is one of several kinds of objects is in brackets.
        field: the name of the member that it is, or that it stands in.
        kind: what stands there.
        node: its schema, without references.
        before: the body's JSON up to it.
        after: the body's JSON from its end on.
        item: the JSON before and after it in that member of the nearest list around it which
            holds it; None where there is no list around.
    """

    name: str
    field: str
    kind: Kind
    node: Node
    before: str = ""
    after: str = ""
    item: tuple[str, str] | None = None

    def holding(self, value: str) -> str:
        """The body with `value` there."""
        return self.before + value + self.after

    def repeated(self, value: str, times: int) -> str:
        """The body in which the list around has so many such members, each with `value` there."""
        first, last = self.item or ("", "")
        more = f",{first}{value}{last}" * (times - 1)
        return self.before + value + last + more + self.after[len(last) :]


class RequestPlaces:
    """The places of a schema.

    Args:
        schema: pydantic's, of a request.
        model: what its field `model` should be.
    """

    def __init__(self, schema: Node, model: str) -> None:
        self._definitions: Mapping[str, Node] = schema.get("$defs", {})
        fixed = {"messages": [{"role": "user", "content": "a"}], "model": model}
        self._fixed = {name: json.dumps(value) for name, value in fixed.items()}
        self._root = schema

    def __iter__(self) -> Iterator[Place]:
        """Each member of each definition once, where it is met first."""
        seen: set[tuple[str, str]] = set()
        for place in self._below(Place("", "", "object", self._root), seen):
            parts = [name for name in _COMPANIONS if place.name.startswith(name)]
            anchor, more = _COMPANIONS[max(parts, key=len)] if parts else ("", "")
            yield replace(place, before=place.before.replace(anchor, anchor + more, 1))

    def shortest(self, node: Node) -> str:
        """The JSON of a short valid value; its texts hold `NUMBERED`."""
        node = self.resolved(node)
        if node.get("title") in _ONE_OF:
            return _ONE_OF[node["title"]]
        if "const" in node:
            return json.dumps(node["const"])
        if "enum" in node:
            return json.dumps(node["enum"][0])
        for key in ("oneOf", "anyOf"):
            if key in node:
                return self.shortest(node[key][0])
        match node.get("type"):
            case "object":
                members = self._members(node, node.get("required", ()))
                return "{" + members.removesuffix(",") + "}"
            case "array":
                return f"[{self.shortest(node['items'])}]" if node.get("minItems") else "[]"
            case "string":
                return f'"a{NUMBERED}"'
            case "boolean":
                return "true"
            case _:
                return str(max(node.get("minimum", 0), 0))

    def resolved(self, node: Node) -> Node:
        """The node, or what it refers to."""
        while "$ref" in node:
            node = self._definitions[node["$ref"].rpartition("/")[2]]
        return node

    def _members(self, node: Node, names: Collection[str]) -> str:
        """The JSON of some of an object's members, with a comma after each."""
        fixed = self._fixed if node is self._root else {}
        return "".join(
            f'"{name}":{fixed.get(name) or self.shortest(member)},'
            for name, member in node.get("properties", {}).items()
            if name in names
        )

    def _below(self, at: Place, seen: set[tuple[str, str]]) -> Iterator[Place]:
        """`at`, of which only the schema is known yet, and the places in it."""
        node = self.resolved(at.node)
        branches = node.get("oneOf") or node.get("anyOf")
        if branches:
            for branch in branches:
                if branch.get("type") != "null":
                    yield from self._below(replace(at, node=branch), seen)
            return
        here = replace(at, name=_named(at.name, node), kind=_kind_of(node), node=node)
        yield here
        if here.kind == "array":
            inner = replace(here, name=f"{here.name}[]", node=node["items"], item=("", ""))
            yield from self._below(_inside(inner, "[", "]", same_item=False), seen)
        elif here.kind == "object":
            for name, member in node.get("properties", {}).items():
                if "const" not in member and (node["title"], name) not in seen:
                    seen.add((node["title"], name))
                    path = f"{here.name}.{name}" if here.name else name
                    inner = replace(here, name=path, field=name, node=member)
                    others = self._members(node, set(node.get("required", ())) - {name})
                    before = "{" + others.replace(NUMBERED, "") + f'"{name}":'
                    yield from self._below(_inside(inner, before, "}"), seen)


def _inside(at: Place, before: str, after: str, *, same_item: bool = True) -> Place:
    item = at.item
    if item is not None and same_item:
        item = (item[0] + before, after + item[1])
    return replace(at, before=at.before + before, after=after + at.after, item=item)


def _named(path: str, node: Node) -> str:
    """The path, with the kind of object where that has a constant member which tells it."""
    members: Mapping[str, Node] = node.get("properties", {})
    kind = next((member["const"] for member in members.values() if "const" in member), "")
    return f"{path.removesuffix('[]')}[{kind}]" if kind and path else path


def _kind_of(node: Node) -> Kind:
    if "const" in node or "enum" in node:
        return "other"
    match node.get("type"):
        case "object" if "properties" in node:
            return "object"
        case "object":
            return "free" if node.get("additionalProperties") is True else "map"
        case "integer" | "number":
            return "number"
        case "array":
            return "array"
        case "string":
            return "string"
        case _:
            return "other"
