import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.text.render import Renderer, TooLongError
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


def test_roles_may_name_control_tokens(make_tokenizer: Any) -> None:
    template = ChatTemplate("{% for m in messages %}<|{{ m.role }}|>{% endfor %}")
    tokenizer = make_tokenizer(controls=["<|user|>", "<|root|>"])
    ids = Renderer(tokenizer, template).render(user(""))
    assert tokenizer.spell(ids) == "[[<|user|>]]"


def test_no_word_of_a_tool_is_a_control_token(show: Any, chatml: str) -> None:
    template = (
        "{{ tools is none }}{% for t in tools or [] %}{{ t | tojson }}"
        "{% for k, v in t.function.parameters.properties.items() %}<|im_{{ k }}|>{{ v.type }}"
        "{% endfor %}{% endfor %}"
    )
    function = {
        "name": "f",
        "description": END[2:-2],
        "parameters": {"properties": {"end": {"type": "string"}}},
    }
    tool = {"type": "function", "function": function}
    shown = json.dumps(tool) + "<|im_end|>string"
    assert show(template, user("?"), tools=[tool]) == f"False{shown}"
    assert show(template, user("?")) == "True"


def test_no_field_of_a_message_is_a_control_token(show: Any) -> None:
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


def test_a_message_may_hold_any_character(show: Any, chatml: str) -> None:
    text = "".join(map(chr, [*range(0xFDD0, 0xFDF0), *range(0xE000, 0xF900)])) + "<|im_end|>"
    assert show(chatml, user(text)) == f"{START}user\n{text}{END}\n{START}assistant\n"


def test_developer_is_system_where_the_template_knows_one(show: Any) -> None:
    roles = "{% for m in messages %}{{ m.role }} {% endfor %}"
    messages = [{"role": "developer", "content": ""}, {"role": "user", "content": ""}]
    assert show(roles, messages) == "system user "
    assert show(roles + "{# knows no developer #}", messages) == "system user "
    assert show(roles + "{% if 'developer' in [] %}{% endif %}", messages) == "developer user "


def test_control_tokens_of_one_character(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer(controls=["§"])
    template = ChatTemplate("§{{ messages[0].content }}§")
    assert tokenizer.spell(Renderer(tokenizer, template).render(user("a§"))) == "[[§]]a§[[§]]"


def test_a_formats_own_markers_stand_apart(make_tokenizer: Any) -> None:
    """They are control tokens wherever they stand, and form none with what stands beside them."""
    tokenizer = make_tokenizer(controls=["<a>", "<a><b>", "<b>"])
    template = ChatTemplate("<a>{{ messages[0].content }}<b>")
    own = {"\ufdd0": "<a>", "\ufdd1": "<b>", "\ufdd2": "<c>"}
    ids = Renderer(tokenizer, template).render(user("\ufdd1<a>\ufdd2\ufdd0"), own=own)
    assert tokenizer.spell(ids) == "[[<a>]][[<b>]]<a><c>[[<a>]][[<b>]]"


def test_text_that_has_no_bytes_is_the_conversations_fault(show: Any, chatml: str) -> None:
    with pytest.raises(ConversationError, match="surrogate"):
        show(chatml, user("\ud800"))


def test_empty_prompt_is_refused(show: Any) -> None:
    with pytest.raises(ConversationError, match="empty prompt"):
        show("{{ messages[0].content }}", user(""))


def test_tokenizer_without_control_tokens(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer(controls=[])
    template = ChatTemplate("{{ messages[0].content }}")
    assert Renderer(tokenizer, template).render(user("hi")) == [104, 105]


def test_control_tokens_swallow_white_space(make_tokenizer: Any) -> None:
    strips = {"<a>": (True, False), "<b>": (False, True), "<c>": (True, True)}
    tokenizer = make_tokenizer(controls=["<a>", "<b>", "<c>", "<d>"], strips=strips)
    template = ChatTemplate("x <a> y <b>\u3000\n{{ messages[0].content }} <c> \n<a> <b> \x1f<d> z")
    ids = Renderer(tokenizer, template).render(user(" \t<b>\u00a0 "))
    shown = tokenizer.spell(ids)
    assert shown == "x[[<a>]] y [[<b>]]<b>[[<c>]][[<a>]] [[<b>]]\x1f[[<d>]] z"


def test_only_the_first_text_is_at_the_start(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer(controls=["<a>"])
    starts: list[tuple[str, bool]] = []
    encode = tokenizer.encode

    def watch(text: str, *, at_start: bool = True) -> list[int]:
        starts.append((text, at_start))
        return encode(text, at_start=at_start)

    tokenizer.encode = watch
    Renderer(tokenizer, ChatTemplate("one<a>two<a>three")).render(user(""))
    assert starts == [("one", True), ("two", False), ("three", False)]
    starts.clear()
    Renderer(tokenizer, ChatTemplate("<a>two")).render(user(""))
    assert starts == [("two", False)]


PARTS = [
    {"role": "user", "content": [{"type": "text", "text": t} for t in ("<|im_", "end|> ", "x")]}
]


def test_parts_are_joined_for_templates_that_take_strings(show: Any, chatml: str) -> None:
    assert show(chatml, PARTS) == f"{START}user\n<|im_end|> x{END}\n{START}assistant\n"


def test_parts_stay_apart_for_templates_that_go_through_them(show: Any) -> None:
    each = "{% for part in messages[0].content %}[{{ part.text | trim }}]{% endfor %}"
    assert show(each, PARTS) == "[<|im_][end|>][x]"
    assert show(each, user("one string")) == "[one string]"
    either = "{% if messages[0].content is string %}{{ messages[0].content }}{% else %}" + each
    assert show(either + "{% endif %}", PARTS) == "[<|im_][end|>][x]"
    assert show(either + "{% endif %}", user("one string")) == "one string"
    bare = "{% for part in messages[0].content %}{{ part.text }}{% endfor %}"
    assert show(bare, PARTS) == "<|im_end|> x"


LOOKS_INTO = (
    "{% set text = messages[0].content %}"
    "{% if '<|im_end|>' in text %}{{ text.split('<|im_end|>')[-1].lstrip('\\n') }}"
    "{% else %}nothing{% endif %}<|im_end|>"
)


def test_templates_may_look_for_control_spellings_in_messages(show: Any) -> None:
    assert show(LOOKS_INTO, user("a<|im_end|>\n\nb </s>")) == f"b </s>{END}"
    assert show(LOOKS_INTO, user("a")) == f"nothing{END}"


@pytest.mark.parametrize(
    ("expression", "content", "shown"),
    [
        ("text.startswith('<|im_start|>')", "<|im_start|>x", "True"),
        ("text.endswith(('x', '</s>'))", "x</s>", "True"),
        ("text.replace('</s>', '+')", "a</s>b", "a+b"),
        ("text | replace('</s>', '+')", "a</s>b", "a+b"),
        ("text | trim", " </s> ", "</s>"),
        ("text | lower", "</S>", "</s>"),
        ("text.find('</s>') > 0", "a</s>", "True"),
        ("text.partition('</s>')[0]", "a</s>b", "a"),
        ("text.removesuffix('</s>')", "a</s>", "a"),
        ("text.count('</s>')", "</s></s>", "2"),
        ("text[:2] + text[2:]", "</s>", "</s>"),
        ("text.split() | join('')", "< / s > </s>", "</s></s>"),
        ("text.strip('x') + '>'", "x</sx", "</s>"),
        ("(text | upper).lower() | string", "</s>", "</s>"),
        ("text.rsplit('</s>', 1)[0] + '>'", "</s</s>", "</s>"),
    ],
)
def test_what_is_cut_out_of_a_message_is_text_too(
    show: Any, expression: str, content: str, shown: str
) -> None:
    template = "{% set text = messages[0].content %}{{ " + expression + " }}"
    assert show(template, user(content)) == shown


def test_the_end_of_a_turn_is_found_in_the_template(make_tokenizer: Any, chatml: str) -> None:
    tokenizer = make_tokenizer(controls=SPELLINGS)

    def ends(template: str, *declared: int) -> list[str]:
        found = Renderer(tokenizer, ChatTemplate(template)).end_ids(declared)
        return [name for name, token in tokenizer.controls.items() if token in found]

    words = "{% for m in messages %}{{ m.content }}"
    assert ends(chatml) == ["<|im_end|>"]
    assert ends(words + " \n</s>{% endfor %}") == ["</s>"]
    start, end = tokenizer.controls["<|im_start|>"], tokenizer.controls["<|im_end|>"]
    assert ends(chatml, start, end) == ["<|im_start|>", "<|im_end|>"]
    for none in (
        words + ".</s>{% endfor %}",
        words + "{% endfor %}",
        "<|im_end|>",
        "{{ raise_exception('no') }}",
    ):
        assert ends(none, start) == ["<|im_start|>"]
        with pytest.raises(TemplateError, match="which token ends a turn; give"):
            ends(none)


class Counted:
    """A tokenizer that counts the characters it is given."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.characters = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode(self, text: str, *, at_start: bool = True) -> list[int]:
        self.characters += len(text)
        return self._tokenizer.encode(text, at_start=at_start)


@pytest.mark.parametrize("messages", [1, 500], ids=["one message", "many messages"])
def test_what_is_far_too_long_is_not_cut_to_its_end(
    make_tokenizer: Any, chatml: str, messages: int
) -> None:
    tokenizer = Counted(make_tokenizer(controls=SPELLINGS))
    renderer = Renderer(tokenizer, ChatTemplate(chatml))
    conversation = user("word " * (200_000 // messages)) * messages
    with pytest.raises(TooLongError, match="more than 1000 tokens") as told:
        renderer.render(conversation, most=1_000)
    assert told.value.most == 1_000
    assert tokenizer.characters < 20_000


def test_what_is_somewhat_too_long_is_cut_to_its_end(make_tokenizer: Any, chatml: str) -> None:
    renderer = Renderer(make_tokenizer(controls=SPELLINGS), ChatTemplate(chatml))
    conversation = user("word " * 1_000)
    assert renderer.render(conversation, most=1_000) == renderer.render(conversation)


def test_a_long_text_of_few_tokens_is_not_too_long(make_tokenizer: Any, chatml: str) -> None:
    """What is told to be too long is: by its tokens, not by its characters."""
    tokenizer = make_tokenizer(controls=SPELLINGS)
    tokenizer.encode = lambda text, at_start=True: [0] * (len(text) // 100)
    renderer = Renderer(tokenizer, ChatTemplate(chatml))
    assert len(renderer.render(user(" " * 90_000), most=1_000)) < 1_000


TURNS = "{% for m in messages %}<|im_start|>{{ m.content | trim }}<|im_end|>{% endfor %}{{ more }}"


@pytest.mark.parametrize("words", ["Hel", "Hel \n", "<|im_end|>", "\ufdd0\ufdd1", "\ue000"])
def test_the_last_message_is_continued_after_its_last_character(show: Any, words: str) -> None:
    messages = [*user("Hel"), {"role": "assistant", "content": words}]
    found = show(TURNS, messages, continue_final_message=True)
    assert found == f"{START}Hel{END}{START}{words}"


def test_the_last_of_its_parts_is_continued(show: Any) -> None:
    template = (
        "{% for m in messages %}{% for p in m.content %}<{{ p.text }}>{% endfor %}{% endfor %}"
    )
    content = [{"type": "text", "text": text} for text in "ab"]
    messages = [{"role": "assistant", "content": content}]
    assert show(template, messages, continue_final_message=True) == "<a><b"


def test_a_message_that_is_not_shown_cannot_be_continued(show: Any) -> None:
    with pytest.raises(ConversationError, match="does not show the last message"):
        show("{{ messages | length }}", user("Hi"), continue_final_message=True)


def test_words_of_a_templates_own(make_tokenizer: Any) -> None:
    tokenizer = make_tokenizer(controls=SPELLINGS)
    ids = Renderer(tokenizer, ChatTemplate("")).own_ids("a<|im_end|>\n")
    assert tokenizer.spell(ids) == f"a{END}\n"
