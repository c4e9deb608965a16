import re
from typing import Any

import pytest

from serve.text.template import ChatTemplate, ConversationError, TemplateError


def rendered(source: str, *contents: str, **variables: str) -> str:
    messages = [{"role": "user", "content": text} for text in contents]
    return ChatTemplate(source, variables).render(messages)


def test_blocks_are_trimmed_as_published_templates_expect() -> None:
    source = "{% for m in messages %}\n    {% if m.content %}\n{{ m.content }}\n    {% endif %}\n"
    assert rendered(source + "{% endfor %}", "a", "b") == "a\nb\n"


def test_loop_controls() -> None:
    source = "{% for m in messages %}{% if loop.index == 2 %}{% break %}{% endif %}"
    assert rendered(source + "{{ m.content }}{% endfor %}", "a", "b") == "a"


def test_tojson_does_not_escape_for_html() -> None:
    assert rendered("{{ messages[0].content | tojson }}", "<é>'&") == '"<é>\'&"'
    assert rendered("{{ {'b': 1, 'a': [2]} | tojson(indent=1) }}") == (
        '{\n "b": 1,\n "a": [\n  2\n ]\n}'
    )


def test_variables_and_the_date() -> None:
    assert rendered("{{ bos_token }}|{{ eos_token }}", bos_token="<s>") == "<s>|"
    assert re.fullmatch(r"\d{4}-\d\d", rendered("{{ strftime_now('%Y-%m') }}"))


def test_generation_prompt() -> None:
    template = ChatTemplate("{% if add_generation_prompt %}A:{% endif %}")
    assert template.render([]) == "A:"
    assert template.render([], add_generation_prompt=False) == ""


def test_refusal_carries_its_text() -> None:
    with pytest.raises(ConversationError, match=r"^roles must alternate$"):
        rendered("{{ raise_exception('roles must alternate') }}")


@pytest.mark.parametrize(
    "source",
    [
        "{{ messages[0].nothing.more }}",
        "{{ messages[0].content + 1 }}",
        "{{ 1 // 0 }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].content | int + 'x' }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ messages[0].content.index('z') }}",
        "{{ messages[0].content.__init__.__globals__ }}",
    ],
)
def test_failures_are_told(source: str) -> None:
    with pytest.raises(ConversationError, match="chat template fails"):
        rendered(source, "a")


@pytest.mark.parametrize("source", ["{% for %}", "{{ x", "{% nothing %}", "{{ 'a' | nofilter }}"])
def test_wrong_templates_are_refused_when_loaded(source: str) -> None:
    with pytest.raises(TemplateError, match=r"line 1 of the chat template is wrong"):
        ChatTemplate(source)


def test_template_errors_are_value_errors() -> None:
    errors: list[Any] = [TemplateError, ConversationError]
    assert all(issubclass(error, ValueError) for error in errors)


def test_generation_blocks_are_transparent() -> None:
    source = (
        "{% for m in messages %}{% generation %}\n{{ m.content }}{% endgeneration %}{% endfor %}"
    )
    assert rendered(source, "a", "b") == "ab"
    with pytest.raises(TemplateError, match="line 2"):
        ChatTemplate("\n{% generation %}")


def test_tools_and_documents_are_none() -> None:
    assert rendered("{{ tools is none }} {{ documents is none }} {{ x is defined }}") == (
        "True True False"
    )


def test_an_error_names_the_template() -> None:
    with pytest.raises(TemplateError, match=r"^line 3 of /x/y\.jinja is wrong: "):
        ChatTemplate("\n\n{% if %}", name="/x/y.jinja")


@pytest.mark.parametrize(
    ("source", "parts", "strings"),
    [
        ("{{ messages[0].content }}", False, True),
        ("{{ messages[0].content | tojson }}", False, True),
        ("{{ 'x' + messages[0].content }}", False, True),
        ("{{ messages[0].content[0].text }}", True, False),
        ("{% for p in messages[0].content %}{{ p['text'] }}{% endfor %}", True, False),
        ("{{ raise_exception('never') }}", False, True),
    ],
)
def test_which_form_of_content_a_template_takes(source: str, parts: bool, strings: bool) -> None:
    template = ChatTemplate(source)
    assert (template.takes_parts, template.takes_strings) == (parts, strings)


_EACH = "{% for m in messages %}{{ m.content }}"


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ("{{ messages[0].content }}", ""),
        (_EACH + "{{ m.reasoning_content }}{% endfor %}", "reasoning_content"),
        (_EACH + "{{ m['thinking'] }}{% endfor %}", "thinking"),
        (_EACH + "{{ m.get('reasoning') or '' }}{% endfor %}", "reasoning"),
        (_EACH + "{{ m.thinking or m.reasoning }}{% endfor %}", "reasoning"),
        # In the last turn alone.
        (_EACH + "{% if loop.last %}{{ m.thinking }}{% endif %}{% endfor %}", "thinking"),
        # Of an answer that is not followed by another.
        (_EACH + "{% if not add_generation_prompt %}{{ m.thinking }}{% endif %}{% endfor %}",
         "thinking"),
        # Before a call alone.
        (_EACH + "{% if m.tool_calls %}{{ m.reasoning }}{% endif %}{% endfor %}", "reasoning"),
        # Of parts, of a setting, and in words.
        (_EACH + "{% if m.content[0].type == 'thinking' %}!{% endif %}{% endfor %}", ""),
        ("{% if thinking %}<think>{% endif %}" + _EACH + "{% endfor %}", ""),
        ("Reasoning: {{ reasoning_effort }}" + _EACH + "{% endfor %}", ""),
        ("{% for p in messages[-1].content %}{{ p.text }}{% endfor %}{{ messages[-1].thinking }}",
         "thinking"),
        ("{{ messages[1].reasoning }}{{ raise_exception('never') }}", ""),
    ],
)  # fmt: skip
def test_where_a_template_takes_thoughts(source: str, field: str) -> None:
    assert ChatTemplate(source).thoughts == field


@pytest.mark.parametrize(
    ("source", "variables"),
    [
        ("{{ messages[0].content }}{{ tools }}{{ documents }}{{ bos_token }}", set()),
        (
            "{% if enable_thinking is defined and not enable_thinking %}x{% endif %}",
            {"enable_thinking"},
        ),
        ("{% set own = 1 %}{{ own }}{% for own in range(3) %}{{ loop.index }}{% endfor %}", set()),
        # It makes what it is not given.
        ("{% if level is not defined %}{% set level = 'low' %}{% endif %}{{ level }}", {"level"}),
        ("{% set level = level | default('low') %}{{ level }}", {"level"}),
        ("{% if messages %}{% set mood = 'x' %}{% endif %}{{ mood }}", set()),
        ("{{ raise_exception(words) }}{{ strftime_now('%Y') }}", {"words"}),
        ("{% macro f(x) %}{{ x }}{{ y }}{% endmacro %}{{ f(1) }}", {"y"}),
    ],
)
def test_the_variables_that_can_be_given(source: str, variables: set[str]) -> None:
    assert ChatTemplate(source, {"bos_token": "<s>"}).variables == variables


def test_variables_are_nobodys_words() -> None:
    template = ChatTemplate("{{ a }}{{ 'b' }}")
    text = template.render([{"role": "user", "content": ""}], variables={"a": "<s>"})
    assert (text, text.marks) == ("<s>b", b"\0\0\0\1")
