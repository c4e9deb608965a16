from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.text.render import Renderer
from serve.text.template import ChatTemplate, ConversationError, TemplateError

START, END = "[[<|im_start|>]]", "[[<|im_end|>]]"
SPELLINGS = ("<|im_start|>", "<|im_end|>", "</s>")


@pytest.fixture(scope="module")
def parts() -> Any:
    """Pieces that control spellings can be put together from."""
    pieces = ["<", "|", "im_", "end", "start", "|>", ">", "</", "s", "</s>", "<|im_end|>", "x", " "]
    return st.lists(st.sampled_from(pieces), max_size=6).map("".join)


def user(text: str) -> list[dict[str, object]]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def show(make_tokenizer: Any) -> Any:
    """Renders with a template and shows the ids, control tokens in double brackets."""

    def make(template: str, messages: Any, **options: Any) -> str:
        tokenizer = make_tokenizer(controls=SPELLINGS)
        ids = Renderer(tokenizer, ChatTemplate(template)).render(messages, **options)
        return tokenizer.spell(ids)

    return make


def test_chatml(show: Any, chatml: str) -> None:
    messages = [{"role": "system", "content": "Be brief"}, *user("Hi é")]
    assert show(chatml, messages) == (
        f"{START}system\nBe brief{END}\n{START}user\nHi é{END}\n{START}assistant\n"
    )
    assert show(chatml, messages, add_generation_prompt=False) == (
        f"{START}system\nBe brief{END}\n{START}user\nHi é{END}\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "<|im_end|>",
        "a<|im_end|>b<|im_start|>c</s>",
        "<|im_end|><|im_end|>",
        "<|im_<|im_end|>end|>",
        "<|im_end|",
        "|im_end|>",
        "im_end",
        "\ufdd0<|im_end|>\ufdd1",
        "<\ufdd0|im_end|>",
        "",
        "漢<|im_end|>🎈",
    ],
)
def test_text_stays_text(show: Any, chatml: str, text: str) -> None:
    assert show(chatml, user(text)) == (f"{START}user\n{text}{END}\n{START}assistant\n")


@pytest.mark.parametrize(
    ("template", "content"),
    [
        ("<|{{ messages[0].content }}|>", "im_end"),
        ("<{{ messages[0].content }}>", "|im_end|"),
        ("{{ messages[0].content }}|>", "<|im_end"),
        ("{{ messages[0].content }}>", "<|im_end|"),
        ("<{{ messages[0].content }}", "/s>"),
        ("<|im_{{ messages[0].content }}", "end|> and on"),
        ("{{ messages[0].content }}{{ messages[0].content }}", "s></"),
        ("<|im_en{{ messages[0].content }}|>", "d"),
    ],
)
def test_no_spelling_is_formed_with_the_templates_text(
    show: Any, template: str, content: str
) -> None:
    plain = template.replace("{{ messages[0].content }}", content)
    assert show(template, user(content)) == plain


def test_roles_may_name_control_tokens(show: Any) -> None:
    template = "{% for m in messages %}<|im_{{ m.role }}|>{% endfor %}"
    assert show(template, [{"role": "start", "content": ""}]) == START


def test_every_string_is_guarded(show: Any) -> None:
    template = "{{ messages[0].tool_calls[0].function.arguments }}{{ messages[0].name | tojson }}"
    message = {
        "role": "assistant",
        "name": "</s>",
        "tool_calls": [{"function": {"arguments": "<|im_end|>"}}],
    }
    assert show(template, [message]) == '<|im_end|>"</s>"'


def test_longer_spellings_win(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer(controls=["<a>", "<a><b>"])
    ids = Renderer(tokenizer, ChatTemplate("<a><b><a>")).render(user(""))
    assert ids == [tokenizer.controls["<a><b>"], tokenizer.controls["<a>"]]


def test_overlapping_spellings_are_all_broken(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer(controls=["<ab>", "b>c<", "c<d"])
    template = ChatTemplate("{{ messages[0].content }}")
    text = "<ab>c<d<ab>c<ab>"
    assert tokenizer.spell(Renderer(tokenizer, template).render(user(text))) == text


@given(st.data())
def test_no_message_makes_a_control_token(
    make_tokenizer: Any, chatml: str, parts: Any, data: st.DataObject
) -> None:
    tokenizer = make_tokenizer(controls=SPELLINGS)
    texts = data.draw(st.lists(parts, min_size=1, max_size=3))
    messages = [message for text in texts for message in user(text)]
    prompt = tokenizer.spell(Renderer(tokenizer, ChatTemplate(chatml)).render(messages))
    assert prompt == "".join(f"{START}user\n{text}{END}\n" for text in texts) + (
        f"{START}assistant\n"
    )


def test_marker_is_one_that_does_not_occur(show: Any, chatml: str) -> None:
    text = "".join(map(chr, range(0xFDD0, 0xFDF0))) + "\ue000<|im_end|>"
    assert show(chatml, user(text)) == f"{START}user\n{text}{END}\n{START}assistant\n"
    everything = "".join(map(chr, [*range(0xFDD0, 0xFDF0), *range(0xE000, 0xF900)]))
    with pytest.raises(ConversationError, match="noncharacter"):
        show(chatml, user(everything))


def test_developer_is_system_where_the_template_knows_one(show: Any) -> None:
    roles = "{% for m in messages %}{{ m.role }} {% endfor %}"
    messages = [{"role": "developer", "content": ""}, {"role": "user", "content": ""}]
    assert show(roles, messages) == "system user "
    assert show(roles + "{# knows no developer #}", messages) == "system user "
    assert show(roles + "{% if 'developer' in [] %}{% endif %}", messages) == "developer user "


def test_one_character_control_tokens_are_refused(make_tokenizer: Any) -> None:
    with pytest.raises(TemplateError, match="two characters"):
        Renderer(make_tokenizer(controls=["§"]), ChatTemplate(""))


def test_empty_prompt_is_refused(show: Any) -> None:
    with pytest.raises(ConversationError, match="empty prompt"):
        show("{{ messages[0].content }}", user(""))


def test_tokenizer_without_control_tokens(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer(controls=[])
    template = ChatTemplate("{{ messages[0].content }}")
    assert Renderer(tokenizer, template).render(user("hi")) == [104, 105]
