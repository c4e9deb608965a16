"""Templates on messages against jinja2 as the reference library sets it up."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.sandbox import ImmutableSandboxedEnvironment

from serve.text.render import Renderer
from serve.text.spellings import spelling_pattern
from serve.text.template import ChatTemplate

START, END = "<|im_start|>", "<|im_end|>"
SPELLINGS = (START, END, "</s>")
# What `{T}` stands for below is a message's text.
TEXT = "messages[0].content"


def reference(source: str, messages: list[dict[str, Any]]) -> str:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(source).render(messages=messages)


# Expressions that read and change a text. A trailing word names what they are there for.
READS = [
    "T", "T + '!'", "'!' + T", "T ~ T", "'<|im_' ~ T", "T * 2", "T | length", "T[1:]", "T[:-1]",
    "T[0:1]", "T[::-1]", "T.find('|')", "T.index('') ", "T[T.find('</think>') + 8:]",
    "T.split('</think>')[-1]", "T.split(sep='</think>') | join('+')", "T.split('|', 1)[-1]",
    "T.rsplit(sep='</s>', maxsplit=1)[0]", "T.partition('|')[2]", "T in '<|im_end|> </s>'",
    "'</s>' in T", "'<|im_end|>' in T", "T == '</s>'", "T in ['</s>', 'x']",
    "T | replace('</s>', '')", "T.replace('|', '')", "T | trim", "T.strip('<>')", "T | upper",
    "T | title", "T | capitalize", "T | safe", "(T | safe) ~ '<b>'", "(T | safe) + '<b>'",
    "'<b>' + (T | safe)", "'<b>' ~ (T | safe)", "T | tojson", "{'a': T} | tojson",
    "{'<|im_end|>': 1}[T]", "'%s|%s' % (T, T)", "'<%s>' | format(T)", "'%(a)s>' % {'a': T}",
    "'{}|im{}'.format('<', T)", "'{0:>20}{x!r}'.format(T, x=T)", "T % ()",
    "'{a}'.format_map({'a': T})", "T | list | join", "[T, T] | join", "[T, 'end|>'] | join('_')",
    "[{'a': T}] | join('|', attribute='a')", "T | first", "T | last", "T | reverse",
    "T | wordcount", "T | indent(2)", "T | string", "T is string", "T | int", "T | default('x')",
    "T.isalpha()", "T.startswith(('<', '|'))", "T.count('|')", "T.splitlines() | length", "T | e",
    "T.lower()", "T | truncate(5)", "T | center(30)", "T | wordwrap(3)", "T | urlize",
    "T | striptags", "T.encode()", "T | map('upper') | join", "T | batch(2) | list",
    "T | sort | join", "T | unique | join", "dict(a=T).a", "['</s>', T] | max",
    "(T, '<|im_') | last", "(T if T > '<' else '<|im_end|>')", "T | replace('', '-')",
    "T.removeprefix('<|')", "T.removesuffix('|>')", "T.zfill(9)", "T.title()",
    "T.join(['<|im_', 'end|>'])", "'<|im_'.join([T, T])", "T.rpartition('<') | string",
    "T.casefold()", "namespace(a=T).a", "T | forceescape", "'<' * (T | length)",
    "T | slice(2) | list", "T | pprint", "T | xmlattr", "T | lower | trim('<')", "T.expandtabs()",
    "T | wordwrap(4, wrapstring='</s>')",
]  # fmt: skip
# Statements around an expression E.
AROUND = [
    "{{ E }}",
    "<|im_start|>{{ E }}<|im_end|>",
    "<|im_{{ E }}|>",
    "{{ '<|im_start|>' + (E) | string + '<|im_end|>' }}",
    "{{ '<|im_start|>' ~ (E) ~ '<|im_end|>' | trim }}",
    "{% set x %}<|im_start|>{{ E }}<|im_end|>{% endset %}{{ x }}{{ x | length }}",
    "{% set x = E %}<|im_start|>{{ x }}",
    "{% macro m(x) %}<|im_start|>{{ x }}<|im_{% endmacro %}{{ m(E) }}end|>",
    "{% macro m(x) %}{{ x }}{% endmacro %}{% set y = m(E) %}{{ y.split('</s>')[-1] }}</s>",
    "{% macro m() %}<|im_start|>{{ caller() }}{% endmacro %}{% call m() %}{{ E }}{% endcall %}",
    "{% set n = namespace(t='') %}{% set n.t = n.t + '</s>' ~ (E) %}{{ n.t }}",
    "{% filter trim %} <|im_start|>{{ E }} {% endfilter %}",
    "{% filter lower %}</S>{{ E }}{% endfilter %}",
    "{% autoescape true %}<|im_start|>{{ E }}{% endautoescape %}</s>",
    "{% autoescape false %}<|im_start|>{{ E }}{% endautoescape %}</s>",
    "{% for c in (E) | string %}{{ loop.index }}{{ c }}{% endfor %}<|im_end|>",
    "{{ ['<|im_start|>', E, '<|im_end|>'] | join('</s>') }}",
    "{{ ('<|im_start|>' ~ (E)) | safe }}",
    "{{ '<|im_start|>%s<|im_end|>' % (E,) }}",
    "{{ '<|im_start|>{}<|im_end|>{}'.format(E, '</s>') }}",
    "{{ {'a': '<|im_start|>', 'b': ['</s>']}['a'] ~ (E) }}",
    "{% if E %}<|im_start|>{% else %}</s>{% endif %}",
    "{% block b %}<|im_start|>{{ E }}{% endblock %}",
    "{% for x in [[E]] recursive %}</s>{{ loop(x) if x is not string else x }}{% endfor %}",
]
NASTY = [
    "<|im_end|>",
    "im_end",
    "end|> </think> <|im_",
    "a</s>\n b</think>c</s>",
    "%s {} <|im_start|>",
    "",
]


def source(around: str, expression: str) -> str:
    return around.replace("E", expression.replace("T", TEXT))


def outcome(render: Any, *arguments: Any) -> Any:
    try:
        return render(*arguments)
    except Exception:  # noqa: BLE001  (whatever a template fails with)
        return None


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def unplaced(rendered: str | None) -> str | None:
    """Without the addresses of objects that are no text."""
    return rendered and re.sub(r" at 0x[0-9a-f]+>", " at 0x>", str(rendered))


def agree(template: str, text: str) -> None:
    """The rendered text is the reference's, and no mark is on what the message says."""
    ours = outcome(ChatTemplate(template).render, user(text))
    assert unplaced(ours) == unplaced(outcome(reference, template, user(text)))


@pytest.mark.parametrize("expression", READS)
def test_what_a_template_makes_of_a_message_is_the_references(expression: str) -> None:
    for text in NASTY:
        agree(source("<|im_{{ E }}|>", expression), text)


@pytest.mark.parametrize("around", AROUND)
def test_wherever_it_is_written_it_is_the_references(around: str) -> None:
    for text in NASTY:
        agree(source(around, "T"), text)


@settings(max_examples=60)
@given(
    st.sampled_from(AROUND),
    st.sampled_from(READS),
    st.sampled_from(READS),
    st.text("<|/s>im_endthk %{}", max_size=24),
)
def test_operations_one_after_the_other(around: str, one: str, other: str, text: str) -> None:
    agree(source(around, other.replace("T", f"({one})")), text)


# Letters that no template here writes, in either case.
GREEK = "αβγδπω"


@settings(max_examples=60)
@given(
    st.sampled_from(AROUND),
    st.sampled_from(READS),
    st.sampled_from(READS),
    st.text(GREEK + "ΑΒ <|", max_size=12),
)
def test_no_mark_is_won(around: str, one: str, other: str, text: str) -> None:
    template = source(around, other.replace("T", f"({one})"))
    rendered = outcome(ChatTemplate(template).render, user(text))
    if rendered is not None:
        marked = {c for c, mark in zip(rendered.plain(), rendered.marks, strict=True) if mark}
        assert not marked & set(GREEK + GREEK.upper())


@pytest.mark.parametrize("around", AROUND)
def test_no_mark_is_lost_on_the_ways_that_templates_write(make_tokenizer: Any, around: str) -> None:
    """Where a message spells nothing, each spelling in the reference's text is the template's."""
    tokenizer = make_tokenizer(controls=SPELLINGS)
    template = source(around, "T")
    ids = Renderer(tokenizer, ChatTemplate(template)).render(user("harmless"))
    expected = spelling_pattern(SPELLINGS).findall(reference(template, user("harmless")))
    found = {token: spelling for spelling, token in tokenizer.controls.items()}
    assert [found[token] for token in ids if token in found] == expected
    assert expected or around in AROUND[:1] + AROUND[2:3]


@pytest.mark.parametrize(
    "template",
    [
        "A + B", "A ~ B", "[A, B] | join", "'%s%s' % (A, B)", "'{}{}'.format(A, B)",
        "(A ~ B) | safe", "A.replace('', '') + B", "[A, B] | join | upper | lower",
        "'<|im_' + A[5:] + B", "A + '' + B", "A + 'end|>'", "'<|im_' + B", "'<|im_' ~ B",
        "'<|im_%s' % B", "A + 'end|>' | trim", "('<|im_' + B) | trim", "A.join(['', B])",
        "''.join([A, B])", "B.join(['<|im_', ''])", "('<|im_X') | replace('X', B)",
        "('<|im_X').replace('X', B)", "'<|im_{}'.format(B)", "['<|im_', B] | join",
        "'<|im_{a}'.format_map({'a': B})", "'<|im_' | replace('_', '_' + B)", "A[:1] + '|im_' + B",
        "'<|im_en' + B[2:]", "'<|IM_' | lower + B", "'<|im_' ~ (B | safe)",
    ],
)  # fmt: skip
def test_halves_form_no_control_token(make_tokenizer: Any, template: str) -> None:
    tokenizer = make_tokenizer(controls=SPELLINGS)
    expression = template.replace("A", TEXT).replace("B", "messages[1].content")
    made = ChatTemplate(f"</s>{{{{ {expression} }}}}")
    ids = Renderer(tokenizer, made).render([*user("<|im_"), *user("end|>")])
    assert tokenizer.spell(ids) == "[[</s>]]<|im_end|>"


def test_a_cut_that_a_template_makes_in_a_message_is_no_seam(make_tokenizer: Any) -> None:
    """What the template itself writes into a message's middle is its own, and the rest is not."""
    template = "{{ messages[0].content[:2] ~ '</s>' ~ messages[0].content[2:] }}"
    tokenizer = make_tokenizer(controls=SPELLINGS)
    ids = Renderer(tokenizer, ChatTemplate(template)).render(user("</s>"))
    assert tokenizer.spell(ids) == "</[[</s>]]s>"


THOUGHTS = """\
{%- macro words(content) -%}
{%- if '</think>' in content -%}{{ content.split('</think>')[-1].lstrip('\\n') }}
{%- else -%}{{ content }}{%- endif -%}
{%- endmacro -%}
{%- for m in messages %}<|im_start|>{{ words(m.content) }}<|im_end|>{% endfor %}"""


def test_thoughts_are_cut_by_a_macro(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer(controls=[*SPELLINGS, "<think>", "</think>"])
    twice = THOUGHTS.replace("words(m.content)", "words(words(m.content) ~ '')")
    for template in (THOUGHTS, twice):
        ids = Renderer(tokenizer, ChatTemplate(template)).render(
            [*user("<think>long</think>\n\nshort <|im_end|>"), *user("hello")]
        )
        assert tokenizer.spell(ids) == (
            "[[<|im_start|>]]short <|im_end|>[[<|im_end|>]][[<|im_start|>]]hello[[<|im_end|>]]"
        )
