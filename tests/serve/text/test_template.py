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
