"""Calls of tools: none, one, several, and the answer after the result."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tools.bundled_data.exchange import Exchange, Situation
from tools.bundled_data.grammar import Phrasings, fill, pattern, roughen
from tools.bundled_data.judges import Call, Calls, exactly
from tools.bundled_data.skills.facts import facts
from tools.bundled_data.skills.memory import telling
from tools.bundled_data.skills.strings import copying
from tools.bundled_data.skills.talk import identity, small_talk
from tools.bundled_data.skills.unknown import unclear
from tools.bundled_data.tables import table
from tools.bundled_data.toolbox import Tool, asks_for, value_of_kind

CALL, AFTER, NONE = "tool calls", "tool results", "no tool call"
DIRECT_RATE = 0.15
SEVERAL_RATE = 0.2
_TABLE = table("tools")
_DIRECT = Phrasings(*_TABLE["request"]["direct"])
_GIVEN = pattern(_TABLE["request"]["given"])
_Values = Mapping[str, str | int]


def calling(now: Situation) -> list[Exchange]:
    """A request that needs one call, or the same tool twice."""
    tool = now.rng.choice(now.tools)
    user, calls, _ = _request(now, tool)
    return [_calls(user, calls)]


def after_calling(now: Situation) -> list[Exchange]:
    """A request, its calls, and the answer made of their results."""
    tool = now.rng.choice([tool for tool in now.tools if tool.entry is not None])
    user, calls, values = _request(now, tool, direct=False)
    results, answers = list[str](), list[str]()
    for given in values:
        entry: Mapping[str, str] = tool.entry or {}
        returned = {
            str(each["key"]): value_of_kind(now.rng, now.split, str(each["kind"]))
            for each in (tool.entry or {})["returns"]
        }
        results.append(json.dumps(returned))
        answers.append(fill(entry["answer"], _texts({**given, **returned})))
    answer = "\n".join(answers)
    after = Exchange(AFTER, "", answer, exactly(answer), results=tuple(results))
    return [_calls(user, calls), after]


def no_call(now: Situation) -> list[Exchange]:
    """A message that no tool is needed for."""
    makers = (small_talk, identity, facts, copying, telling, unclear)
    made = now.rng.choice(makers)(now)
    return [replace(exchange, skill=NONE) for exchange in made]


def _calls(user: str, calls: Sequence[Call]) -> Exchange:
    return Exchange(CALL, user, "", Calls(tuple(calls)), calls=tuple(calls))


def _texts(values: _Values) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


def _request(
    now: Situation, tool: Tool, *, direct: bool = True
) -> tuple[str, list[Call], list[_Values]]:
    rng = now.rng
    values = _values(now, tool)
    if tool.entry is None or (direct and tool.parameters and rng.random() < DIRECT_RATE):
        return _directly(now, tool, values), [_call(tool, values)], [values]
    template = asks_for(tool).draw(rng, now.split)
    user = fill(roughen(rng, template), _texts(values))
    if len(tool.parameters) == 1 and rng.random() < SEVERAL_RATE:
        # The same question about two things: one call for each.
        slot = tool.parameters[0].slot
        other = _values(now, tool)
        if other != values:
            both = fill(template, {slot: f"{values[slot]} and {other[slot]}"})
            return both, [_call(tool, values), _call(tool, other)], [values, other]
    return user, [_call(tool, values)], [values]


def _values(now: Situation, tool: Tool) -> _Values:
    return {each.slot: value_of_kind(now.rng, now.split, each.kind) for each in tool.parameters}


def _call(tool: Tool, values: _Values) -> Call:
    return Call(tool.name, {each.key: values[each.slot] for each in tool.parameters})


def _directly(now: Situation, tool: Tool, values: _Values) -> str:
    line = _GIVEN.draw(now.rng)
    given = [
        fill(line, {"key": each.key, "value": str(values[each.slot])}) for each in tool.parameters
    ]
    template = roughen(now.rng, _DIRECT.draw(now.rng, now.split))
    return fill(template, {"tool": tool.name, "given": " and ".join(given)})
