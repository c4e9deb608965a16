"""Answers as each family writes them, and what is in them."""

import re
from dataclasses import dataclass

from support.call_answers import Answer, Call

from serve.text.calls.tools import CustomTool, FunctionTool

TOOLS = (FunctionTool("get_weather"), FunctionTool("get"), CustomTool("sql"), CustomTool("note"))

# Behind a NUL, which no model writes, a control token's spelling is characters.
HARD = (
    r'{"city": "Zürich \"}] \u00e9 \\", "deep": {"a": [{}, [1, {"b": "]}"}]]}, '
    '"markers": "<\0/tool_call> <\0|/tool_call|> [\0TOOL_CALLS] <\0|call|> ``` 🌍"}'
)
PARIS = '{"city": "Paris"}'


@dataclass(frozen=True)
class Transcript:
    """What a model wrote.

    Attributes:
        title: what is special about it, and the test's name.
        format: the format's name.
        written: the answer with its control tokens spelled out; a NUL breaks other spellings.
        controls: the spellings that are control tokens.
        answer: what a client gets.
        turn_ended: false where the answer was cut off.
    """

    title: str
    format: str
    written: str
    controls: tuple[str, ...]
    answer: Answer
    turn_ended: bool = True

    @property
    def fed(self) -> list[tuple[bool, str]]:
        """What a parser gets: (is it a control token, its spelling or characters)."""
        spellings = "|".join(map(re.escape, self.controls)) or "(?!)"
        pieces = re.split(f"({spellings})", self.written)
        return [
            (bool(number % 2), piece.replace("\0", ""))
            for number, piece in enumerate(pieces)
            if piece
        ]


def _weather(arguments: str = PARIS, complete: bool = True) -> Call:
    return Call("get_weather", "function", arguments.replace("\0", ""), complete)


def _get(arguments: str = "{}") -> Call:
    return Call("get", "function", arguments, True)


def _sql(text: str, complete: bool = True) -> Call:
    return Call("sql", "custom", text, complete)


SQL = "select '{' as \"a\"\n  from t;"
TAGS = ("<tool_call>", "</tool_call>")
PHI = ("<|tool_call|>", "<|/tool_call|>")
HARMONY = (
    *("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>"),
    *("<|end|>", "<|call|>", "<|return|>"),
)


def _tags(name: str, title: str, controls: tuple[str, ...]) -> list[Transcript]:
    block = '<tool_call>\n{"name": "get_weather", "arguments": %s}\n</tool_call>'
    get = '<tool_call>\n{"name": "get", "arguments": {}}\n</tool_call>'
    custom = f'<tool_call>\n{{"name": "sql"}}\n{SQL}\n</tool_call>'
    lines = "\n" if controls else ""
    cases = {
        "a call after text": (
            f"I'll look.\n{block % PARIS}",
            Answer("I'll look.", [_weather()]),
        ),
        "several calls": (f"{block % HARD}\n{get}", Answer("", [_weather(HARD), _get()])),
        "spaced otherwise": (
            f'<tool_call> {{ "name" : "get_weather" ,"arguments":{PARIS} }} </tool_call>',
            Answer("", [_weather()]),
        ),
        "a custom tool": (f"{get}\n{custom}", Answer("", [_get(), _sql(SQL + lines)])),
        "no such tool": (
            '<tool_call>\n{"name": "got", "arguments": {}}\n</tool_call>',
            Answer('\n{"name": "got", "arguments": {}}\n')
            if controls
            else Answer('<tool_call>\n{"name": "got", "arguments": {}}\n</tool_call>'),
        ),
    }
    return [
        Transcript(f"{name}: {what}, {title}", name, written, controls, answer)
        for what, (written, answer) in cases.items()
    ]


TRANSCRIPTS = [
    *_tags("hermes", "tags of characters", ()),
    *_tags("hermes", "tags of tokens", TAGS),
    Transcript(
        "hermes: what looks like a call",
        "hermes",
        ' <tool_call <tool_call>{"name": <tool_call> get {"name": "get"} <tool_ca',
        (),
        Answer(' <tool_call <tool_call>{"name": <tool_call> get {"name": "get"} <tool_ca'),
    ),
    Transcript(
        "hermes: tags that are tokens, spelled",
        "hermes",
        '<\0tool_call>\n{"name": "get", "arguments": {}}\n<\0/tool_call>  \n',
        TAGS,
        Answer('<tool_call>\n{"name": "get", "arguments": {}}\n</tool_call>  \n'),
    ),
    Transcript(
        "hermes: cut off in the arguments",
        "hermes",
        'So:\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "}',
        (),
        Answer("So:", [_weather('{"city": "}', False)]),
        turn_ended=False,
    ),
    Transcript(
        "hermes: cut off after the arguments",
        "hermes",
        '<tool_call>\n{"name": "get", "arguments": {}}\n</tool',
        (),
        Answer("", [_get()]),
        turn_ended=False,
    ),
    Transcript(
        "hermes: cut off in the name",
        "hermes",
        'So:\n<tool_call>\n{"name": "get_wea',
        (),
        Answer("So:"),
        turn_ended=False,
    ),
    Transcript(
        "hermes: cut off in a custom tool's input",
        "hermes",
        '<tool_call>\n{"name": "sql"}\nselect 1\n</tool_c',
        (),
        Answer("", [_sql("select 1\n</tool_c", False)]),
        turn_ended=False,
    ),
    Transcript(
        "hermes: text after a call",
        "hermes",
        '<tool_call>\n{"name": "get", "arguments": {}}\n</tool_call>\n Well.',
        (),
        Answer("\n Well.", [_get()]),
    ),
    Transcript(
        "llama3: a call",
        "llama3",
        f'{{"name": "get_weather", "parameters": {HARD}}}',
        ("<|python_tag|>",),
        Answer("", [_weather(HARD)]),
    ),
    Transcript(
        "llama3: behind its token, after text",
        "llama3",
        f'Well. <|python_tag|>{{"name": "get_weather", "parameters": {PARIS}}}',
        ("<|python_tag|>",),
        Answer("Well.", [_weather()]),
    ),
    Transcript(
        "llama3: an object that is no call",
        "llama3",
        '{"city": "Paris", "name": "get", "parameters": {}}',
        ("<|python_tag|>",),
        Answer('{"city": "Paris", "name": "get", "parameters": {}}'),
    ),
    Transcript(
        "llama3: a call inside text",
        "llama3",
        '- {"name": "get", "parameters": {}}',
        ("<|python_tag|>",),
        Answer('- {"name": "get", "parameters": {}}'),
    ),
    Transcript(
        "llama3: a custom tool",
        "llama3",
        f'{{"name": "sql"}}\n{SQL}',
        ("<|python_tag|>",),
        Answer("", [_sql(SQL)]),
    ),
    Transcript(
        "mistral: several calls",
        "mistral",
        f'[TOOL_CALLS] [{{"name": "get_weather", "arguments": {HARD}}}, '
        '{"name": "get", "arguments": {}}]',
        ("[TOOL_CALLS]",),
        Answer("", [_weather(HARD), _get()]),
    ),
    Transcript(
        "mistral: without the space, after text",
        "mistral",
        f'Let me see.[TOOL_CALLS][{{"name":"get_weather","arguments":{PARIS}}}]',
        ("[TOOL_CALLS]",),
        Answer("Let me see.", [_weather()]),
    ),
    Transcript(
        "mistral: a custom tool",
        "mistral",
        f'[TOOL_CALLS] [{{"name": "get", "arguments": {{}}}}, {{"name": "sql"}}\n{SQL}',
        ("[TOOL_CALLS]",),
        Answer("", [_get(), _sql(SQL)]),
    ),
    Transcript(
        "mistral-ids: several calls after text",
        "mistral-ids",
        f"Let me see.[TOOL_CALLS]get_weather[CALL_ID]aB3dE6gH9[ARGS]{HARD}"
        "[TOOL_CALLS]get[CALL_ID]012345678[ARGS]{}",
        ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
        Answer("Let me see.", [_weather(HARD), _get()]),
    ),
    Transcript(
        "mistral-ids: markers of characters, and an id that is none",
        "mistral-ids",
        "[TOOL_CALLS]get[CALL_ID]aB3dE6gH9[ARGS]{}[TOOL_CALLS]get[CALL_ID]a-b[ARGS]{}",
        (),
        Answer("[TOOL_CALLS]get[CALL_ID]a-b[ARGS]{}", [_get()]),
    ),
    Transcript(
        "mistral-ids: a custom tool",
        "mistral-ids",
        f"[TOOL_CALLS]get[CALL_ID]aB3dE6gH9[ARGS]{{}}[TOOL_CALLS]sql[CALL_ID]012345678[ARGS]{SQL}",
        ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
        Answer("", [_get(), _sql(SQL)]),
    ),
    Transcript(
        "mistral-ids: cut off in the id",
        "mistral-ids",
        "So:[TOOL_CALLS]get[CALL_ID]aB3",
        ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
        Answer("So:"),
        turn_ended=False,
    ),
    Transcript(
        "mistral: what looks like a call",
        "mistral",
        'A [TOOL_CALLS is [{"name": "get", "arguments": {}}] and [TOOL_CALLS] [{"name": "got"}]',
        (),
        Answer(
            'A [TOOL_CALLS is [{"name": "get", "arguments": {}}] and [TOOL_CALLS] [{"name": "got"}]'
        ),
    ),
    Transcript(
        "mistral: a token that is spelled",
        "mistral",
        '[\0TOOL_CALLS] [{"name": "get", "arguments": {}}]',
        ("[TOOL_CALLS]",),
        Answer('[TOOL_CALLS] [{"name": "get", "arguments": {}}]'),
    ),
    Transcript(
        "mistral: cut off between calls",
        "mistral",
        '[TOOL_CALLS] [{"name": "get", "arguments": {}}, {"name": "get_wea',
        ("[TOOL_CALLS]",),
        Answer("", [_get()]),
        turn_ended=False,
    ),
    Transcript(
        "mistral-args: what looks like a call",
        "mistral-args",
        "Say get[ARGS]{} or [TOOL_CALLS]got[ARGS]{} or [TOOL_CALLS]get{}",
        (),
        Answer("Say get[ARGS]{} or [TOOL_CALLS]got[ARGS]{} or [TOOL_CALLS]get{}"),
    ),
    Transcript(
        "mistral-args: cut off in the arguments",
        "mistral-args",
        '[TOOL_CALLS]get_weather[ARGS]{"city',
        ("[TOOL_CALLS]", "[ARGS]"),
        Answer("", [_weather('{"city', False)]),
        turn_ended=False,
    ),
    Transcript(
        "phi4-mini: what looks like a call",
        "phi4-mini",
        '<\0|tool_call|>[{"name": "get", "arguments": {}}]<\0|/tool_call|> <|tool_call',
        PHI,
        Answer('<|tool_call|>[{"name": "get", "arguments": {}}]<|/tool_call|> <|tool_call'),
    ),
    Transcript(
        "phi4-mini: cut off in a custom tool's input",
        "phi4-mini",
        '<|tool_call|>[{"name": "sql"}\nselect',
        PHI,
        Answer("", [_sql("select", False)]),
        turn_ended=False,
    ),
    Transcript(
        "functools: cut off in the arguments",
        "functools",
        'functools[{"name": "get_weather", "arguments": {"city',
        (),
        Answer("", [_weather('{"city', False)]),
        turn_ended=False,
    ),
    Transcript(
        "gemma3: cut off in the arguments",
        "gemma3",
        '```tool_code\n{"name": "get_weather", "parameters": {"city',
        (),
        Answer("", [_weather('{"city', False)]),
        turn_ended=False,
    ),
    Transcript(
        "gpt-oss: what looks like a call",
        "gpt-oss",
        "<|channel|>final<|message|><\0|channel|>commentary to=functions.get <\0|message|>{}",
        HARMONY,
        Answer("<|channel|>commentary to=functions.get <|message|>{}"),
    ),
    Transcript(
        "generic: what looks like a call",
        "generic",
        'Write <tool_call>{"name": "got", "arguments": {}}</tool_call> or <tool_call',
        (),
        Answer('Write <tool_call>{"name": "got", "arguments": {}}</tool_call> or <tool_call'),
    ),
    Transcript(
        "mistral-args: several calls",
        "mistral-args",
        f"Let me see.[TOOL_CALLS]get_weather[ARGS]{HARD}[TOOL_CALLS]get[ARGS]{{}}",
        ("[TOOL_CALLS]", "[ARGS]"),
        Answer("Let me see.", [_weather(HARD), _get()]),
    ),
    Transcript(
        "mistral-args: a custom tool",
        "mistral-args",
        f"[TOOL_CALLS]get[ARGS]{{}}[TOOL_CALLS]sql[ARGS]{SQL}",
        ("[TOOL_CALLS]", "[ARGS]"),
        Answer("", [_get(), _sql(SQL)]),
    ),
    Transcript(
        "gemma3: several calls after text",
        "gemma3",
        f'Sure!\n```tool_code\n{{"name": "get_weather", "parameters": {HARD}}}\n'
        '{"name": "get", "parameters": {}}\n```',
        (),
        Answer("Sure!", [_weather(HARD), _get()]),
    ),
    Transcript(
        "gemma3: a block of code",
        "gemma3",
        "```tool_code\nprint(get())\n```\n```python\n{}\n```",
        (),
        Answer("```tool_code\nprint(get())\n```\n```python\n{}\n```"),
    ),
    Transcript(
        "gemma3: a custom tool",
        "gemma3",
        f'```tool_code\n{{"name": "sql"}}\n{SQL}\n```',
        (),
        Answer("", [_sql(SQL)]),
    ),
    Transcript(
        "phi4-mini: several calls",
        "phi4-mini",
        f'<|tool_call|>[{{"name": "get_weather", "arguments": {HARD}}}, '
        '{"name": "get", "arguments": {}}]<|/tool_call|>',
        PHI,
        Answer("", [_weather(HARD), _get()]),
    ),
    Transcript(
        "phi4-mini: a custom tool",
        "phi4-mini",
        f'<|tool_call|>[{{"name": "sql"}}\n{SQL}<|/tool_call|>',
        PHI,
        Answer("", [_sql(SQL)]),
    ),
    Transcript(
        "functools: several calls after text",
        "functools",
        f'On it.\nfunctools[{{"name": "get_weather", "arguments": {HARD}}}, '
        '{"name": "get", "arguments": {}}]',
        (),
        Answer("On it.", [_weather(HARD), _get()]),
    ),
    Transcript(
        "functools: the word alone",
        "functools",
        'import functools\nfunctools["x"]',
        (),
        Answer('import functools\nfunctools["x"]'),
    ),
    Transcript(
        "functools: a custom tool",
        "functools",
        f'functools[{{"name": "sql"}}\n{SQL}',
        (),
        Answer("", [_sql(SQL)]),
    ),
    Transcript(
        "gpt-oss: a call after a thought and a plan",
        "gpt-oss",
        "<|channel|>analysis<|message|>Need get_weather.<|end|><|start|>assistant"
        "<|channel|>commentary<|message|>I'll look it up.<|end|><|start|>assistant"
        "<|channel|>commentary to=functions.get_weather <|constrain|>json"
        f"<|message|>{HARD}<|call|>",
        HARMONY,
        Answer("I'll look it up.", [_weather(HARD)]),
    ),
    Transcript(
        "gpt-oss: the name before the channel, the turn ended by the call's token",
        "gpt-oss",
        f" to=functions.get_weather<|channel|>commentary json<|message|>{PARIS}",
        HARMONY,
        Answer("", [_weather()]),
    ),
    Transcript(
        "gpt-oss: an answer",
        "gpt-oss",
        "<|channel|>analysis<|message|>2 + 2.<|end|><|start|>assistant"
        "<|channel|>final<|message|>to=functions.get 4<|return|>",
        HARMONY,
        Answer("to=functions.get 4"),
    ),
    Transcript(
        "gpt-oss: a tool of its own",
        "gpt-oss",
        "<|channel|>commentary to=python code<|message|>1 + 1<|call|>",
        HARMONY,
        Answer(),
    ),
    Transcript(
        "gpt-oss: a custom tool, the turn ended by the call's token",
        "gpt-oss",
        f"<|channel|>commentary to=functions.sql <|constrain|>text<|message|>{SQL}",
        HARMONY,
        Answer("", [_sql(SQL)]),
    ),
    Transcript(
        "gpt-oss: a custom tool, cut off",
        "gpt-oss",
        f"<|channel|>commentary to=functions.sql <|constrain|>text<|message|>{SQL}",
        HARMONY,
        Answer("", [_sql(SQL, False)]),
        turn_ended=False,
    ),
    Transcript(
        "gpt-oss: cut off",
        "gpt-oss",
        '<|channel|>commentary to=functions.get_weather json<|message|>{"city',
        HARMONY,
        Answer("", [_weather('{"city', False)]),
        turn_ended=False,
    ),
    *_tags("generic", "tags of characters", ()),
]
