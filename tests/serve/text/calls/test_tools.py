import pytest
from llguidance import LLMatcher
from support.call_walks import Vocabulary, matcher

from serve.text.calls.detect import FORMATS
from serve.text.calls.tools import Choice, CustomTool, FunctionTool, Tool

TWO = [FunctionTool("a"), CustomTool("b")]


def test_a_choice_narrows_the_tools() -> None:
    assert Choice().allowed(TWO) == tuple(TWO)
    assert Choice("required", "b").allowed(TWO) == (TWO[1],)
    assert Choice("none").allowed(TWO) == ()
    assert not Choice("required", "b").several
    assert not Choice(parallel=False).several
    assert Choice().several


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FunctionTool("a b"), "'a b' cannot name a tool"),
        (lambda: CustomTool("x" * 65), "1 to 64"),
        (lambda: CustomTool("x", lark="start:", regex="a"), "give one"),
        (lambda: Choice("auto", "a"), "use 'required'"),
        (lambda: Choice("required", "c").allowed(TWO), r"'c' is not among \['a', 'b'\]"),
        (lambda: Choice().allowed([]), "'auto' needs at least one tool"),
        (lambda: Choice().allowed([*TWO, CustomTool("a")]), "more than one tool is called 'a'"),
    ],
)
def test_what_does_not_fit_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", FORMATS)
def test_schemas_take_objects(name: str) -> None:
    vocabulary = Vocabulary(
        ["<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>"]
    )
    make = FORMATS[name].grammar
    bad = FunctionTool("a", {"type": "string"})
    with pytest.raises(ValueError, match="'a' have the type 'string'; arguments are an object"):
        make([bad], Choice(), vocabulary.controls)
    either = FunctionTool("a", {"type": ["object", "null"]})
    matcher(vocabulary, make([either], Choice(), vocabulary.controls))


def test_gpt_oss_needs_its_control_tokens() -> None:
    with pytest.raises(ValueError, match=r"needs the control tokens .* choose another"):
        FORMATS["gpt-oss"].grammar(TWO, Choice(), {"<|start|>": 1})


REGEXES = [
    "",
    "/",
    "//",
    r"\/",
    "a|b",
    "#",
    '"',
    "\\\\",
    "a\nb",
    "a\\\nb",
    "}",
    r"\}",
    "é",
    r"[/\]]",
]


@pytest.mark.parametrize("regex", REGEXES)
def test_regular_expressions_survive_the_way_into_lark(regex: str) -> None:
    vocabulary = Vocabulary(["[TOOL_CALLS]", "[ARGS]"])
    tool = CustomTool("t", regex=regex)
    words = {
        "": "", "/": "/", "//": "//", r"\/": "/", "a|b": "b", "#": "#", '"': '"', "\\\\": "\\",
        "a\nb": "a\nb", "a\\\nb": "a\nb", "}": "}", r"\}": "}", "é": "é", r"[/\]]": "]",
    }  # fmt: skip
    grammar = FORMATS["mistral-args"].grammar([tool], Choice("required"), vocabulary.controls)
    made = matcher(vocabulary, grammar)
    controls = vocabulary.controls
    tokens = [controls["[TOOL_CALLS]"], ord("t"), controls["[ARGS]"], *words[regex].encode()]
    assert made.consume_tokens(tokens)
    assert made.is_accepting()


def test_strict_decides_on_keywords_that_cannot_be_enforced() -> None:
    vocabulary = Vocabulary([])
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    for strict in (False, True):
        tool = FunctionTool("f", schema, strict=strict)
        grammar = FORMATS["hermes"].grammar([tool], Choice(), vocabulary.controls)
        assert LLMatcher(vocabulary.llguidance, grammar).is_error() == strict


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("tools", [[FunctionTool("a")], [CustomTool("b")], TWO])
def test_any_mixture_of_tools_has_a_grammar(name: str, tools: list[Tool]) -> None:
    vocabulary = Vocabulary(
        ["<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>"]
    )
    for mode in ("auto", "required", "none"):
        for parallel in (False, True):
            choice = Choice(mode, parallel=parallel)
            matcher(vocabulary, FORMATS[name].grammar(tools, choice, vocabulary.controls))
