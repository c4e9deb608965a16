"""Values of JSON that are cheap to send and may be dear to read: lists, objects, numbers.

Each is a way to make what stands in a place about so many bytes large. Knows nothing of requests.
"""

from tools.dear_texts import Make, again
from tools.request_places import NUMBERED


def listed(member: str, first: str = "", last: str = "", wrap: str = "[]") -> Make:
    """A list of equal or numbered members, perhaps with one of its own first or last."""

    def make(size: int) -> str:
        marks = member.count(NUMBERED)
        digits = len(str(size // len(member)))
        count = max(1, size // (len(member.encode()) + 1 + marks * (digits - 1)))
        if marks:
            members = ",".join([member.replace(NUMBERED, str(n)) for n in range(count)])
        else:
            members = ",".join([member] * count)
        inner = ",".join(part for part in (first, members, last) if part)
        return wrap[0] + inner + wrap[1]

    return make


def paired(member: str, first: str = "", last: str = "") -> Make:
    """The same of an object, with a key in each member."""
    return listed(member, first, last, "{}")


OTHERS: dict[str, Make] = {
    "numbers instead": listed("0"),
    "an object instead": paired(f'"k{NUMBERED}":0'),
}


def lists(member: str) -> dict[str, Make]:
    """Lists for a place where members like `member` are valid."""
    wrong = "1" if member[0] in '"{[' else '"a"'
    same = member.replace(NUMBERED, "")
    ways = {
        "valid members": listed(member),
        "wrong members": listed(wrong),
        "the same member": listed(same),
        "wrong first": listed(member, first=wrong),
        "wrong last": listed(member, last=wrong),
        "wrong last, of the same": listed(same, last=wrong),
        "empty objects": listed("{}"),
        "empty lists": listed("[]"),
        "nulls": listed("null"),
    }
    if member.startswith("{"):
        unknown = same.removesuffix("}") + ',"k":0}'
        less = "{" + same[1:-1].partition(",")[0] + "}"
        ways |= {
            "members with one unknown key": listed(unknown),
            "members that lack something": listed(less),
        }
    return ways


def objects(known: str) -> dict[str, Make]:
    """Objects for a place where there are certain keys, of which `known` is one."""
    return {
        "unknown keys": paired(f'"k{NUMBERED}":0'),
        "unknown keys with objects": paired(f'"k{NUMBERED}":{{"a":[{{}}]}}'),
        "one long unknown key": lambda size: f'{{"{"k" * size}":0}}',
        "long unknown keys": paired(f'"{"k" * 1_000}{NUMBERED}":0'),
        "one key over and over": paired(f'"{known}":0'),
        "an unknown key twice, at the end": paired(f'"k{NUMBERED}":0', last='"z":0,"z":0'),
    }


def maps(value: str) -> dict[str, Make]:
    """Objects for a place where keys are free and values like `value` are valid."""
    wrong = '{"a":0}'
    valid = value.replace(NUMBERED, "")
    return {
        "valid pairs": paired(f'"{NUMBERED}":{valid}'),
        "wrong values": paired(f'"{NUMBERED}":{wrong}'),
        "wrong first": paired(f'"{NUMBERED}":{valid}', first=f'"-":{wrong}'),
        "wrong last": paired(f'"{NUMBERED}":{valid}', last=f'"-":{wrong}'),
        "keys of letters": paired(f'"k{NUMBERED}":{valid}'),
        "long keys": paired(f'"{"1" * 1_000}{NUMBERED}":{valid}'),
        "one long key": lambda size: f'{{"{"1" * size}":{valid}}}',
        "a key twice, at the end": paired(f'"{NUMBERED}":{valid}', last=f'"-":{valid},"-":{valid}'),
        "long values": paired(f'"{NUMBERED}":"{"v" * 600}"'),
    }


def free(depth: int) -> dict[str, Make]:
    """Free JSON, most of it schemas."""
    left = max(2, depth - 12)
    lists = "[" * left + "]" * left
    objects = '{"a":' * left + "0" + "}" * left
    items = '{"items":' * (left // 2) + "{}" + "}" * (left // 2)
    text = '{"type":"string"}'
    return {
        "deep lists": _within("enum", listed(lists)),
        "deep objects": _within("enum", listed(objects)),
        "deep schemas": _within("anyOf", listed(items)),
        "too deep": _within("enum", nested("[", "]")),
        "too deep in objects": _within("enum", nested('{"a":', "}", "0")),
        "properties": _within("properties", paired(f'"p{NUMBERED}":{text}')),
        "empty properties": _within("properties", paired(f'"{NUMBERED}":{{}}')),
        "required names": _within("required", listed(f'"p{NUMBERED}"')),
        "values of enum": _within("enum", listed(f'"v{NUMBERED}"')),
        "numbers of enum": _within("enum", listed(NUMBERED)),
        "branches of anyOf": _within("anyOf", listed(text)),
        "branches of oneOf": _within("oneOf", listed(f'{{"const":{NUMBERED}}}')),
        "branches of allOf": _within("allOf", listed(f'{{"required":["p{NUMBERED}"]}}')),
        "definitions": _within("$defs", paired(f'"d{NUMBERED}":{text}')),
        "references": _within("anyOf", listed('{"$ref":"#"}')),
        "pointers with many steps": _within("$ref", again("#/a")),
        "unknown keywords": paired(f'"k{NUMBERED}":0'),
        "a long pattern": _within("pattern", again("(a|b)")),
        "a long description": _within("description", again("a")),
        "a long type": _within("type", listed('"a"')),
        "a long key": lambda size: f'{{"{"k" * size}":0}}',
        "a key twice, at the end": paired(f'"k{NUMBERED}":0', last='"z":0,"z":0'),
        "large numbers": _within("enum", listed("9" * 299)),
        "long decimals": _within("enum", listed(f"0.{'1' * 999}")),
    }


def _within(keyword: str, make: Make) -> Make:
    return lambda size: f'{{"{keyword}":{make(size)}}}'


def nested(first: str, last: str, inner: str = "") -> Make:
    """One value nested as deep as the size allows."""

    def make(size: int) -> str:
        levels = max(1, size // (len(first) + len(last)))
        return first * levels + inner + last * levels

    return make


NUMBERS: dict[str, Make] = {
    "many digits": lambda size: "1" * size,
    "many digits below zero": lambda size: "-" + "1" * size,
    "many decimals": lambda size: "0." + "1" * size,
    "many zeros": lambda size: "0." + "0" * size + "1",
    "digits and an exponent that undoes them": lambda size: "1" * size + f"e-{size}",
    "a long exponent": lambda size: "1e" + "0" * size + "1",
    "an enormous exponent": lambda size: "1e" + "9" * size,
}
