"""What stands beside a vocabulary: added tokens, and the names of the special ones.

Reads `tokenizer_config.json` and the older `special_tokens_map.json`; both may be missing.
Knows nothing of how text is split.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from model.tokenizer.protocol import TokenizerError
from model.unreadable import git_pointer, not_read

_NAME = re.compile(r"[a-z]+_token")

# What AddedToken and the files have in common, beside `special`.
FLAGS = ("lstrip", "rstrip", "single_word", "normalized")

# Markup of ordinary documents: Gemma's vocabulary has whole tokens for these.
_HTML = re.compile(
    r"</?(table|caption|thead|tbody|tfoot|tr|th|td|h[1-6]|blockquote|p|ul|ol|li|br|hr"
    r"|strong|em|b|i|u|sub|sup|code|pre)>"
)


@dataclass(frozen=True, slots=True)
class AddedToken:
    """A token that is found in the text before the vocabulary's model sees it.

    Attributes:
        id: its id.
        content: its spelling.
        special: whether it has no text of its own.
        lstrip: whether it swallows the white space before it.
        rstrip: whether it swallows the white space after it.
        single_word: whether it is found only between word borders.
        normalized: whether it is looked for in the normalized text.
    """

    id: int
    content: str
    special: bool
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False

    @property
    def is_control(self) -> bool:
        """Whether only a template may write it; see `is_control`."""
        return self.special or is_control(self.content)


@dataclass(frozen=True, slots=True)
class TokenizerConfig:
    """What a directory says of its tokenizer besides the vocabulary.

    Attributes:
        named: `bos_token`, `eos_token`, … → spelling.
        special: spellings of these and of further special tokens.
        added: the tokens of `added_tokens_decoder`.
        add_bos_token: whether `bos_token` goes before raw text; for SentencePiece models only.
        legacy: whether a SentencePiece vocabulary puts its space before every piece of text
            between control tokens, and not only before the first.
        add_prefix_space: whether there is such a space at all; None where nothing is said.
    """

    named: Mapping[str, str]
    special: frozenset[str]
    added: tuple[AddedToken, ...]
    add_bos_token: bool
    legacy: bool
    add_prefix_space: bool | None


def is_control(spelling: str) -> bool:
    """Whether an added token that is not marked special is markup of the chat format.

    `<think>`, `<tool_call>` or `<|fim_prefix|>` are: only a template may write them. Runs of
    white space, single characters and HTML's tags are words of the vocabulary.
    """
    blank = not spelling.strip(" \t\r\n\u2581")
    return not blank and len(spelling) > 1 and not _HTML.fullmatch(spelling)


def added_token(token: int, fields: Mapping[str, Any]) -> AddedToken:
    """The added token that a file describes.

    Raises:
        KeyError, TypeError: it has no id or no spelling.
    """
    content = fields["content"]
    if type(token) is not int or token < 0 or not isinstance(content, str) or not content:
        raise TypeError(f"an added token has id {token!r} and content {content!r}")
    flags = {name: fields.get(name) is True for name in ("special", *FLAGS)}
    return AddedToken(token, content, **flags)


def read_tokenizer_config(directory: Path) -> TokenizerConfig:
    """What `tokenizer_config.json` and `special_tokens_map.json` say.

    Raises:
        TokenizerError: one of them is there and cannot be understood.
    """
    path = directory / "tokenizer_config.json"
    fields = {**read_object(directory / "special_tokens_map.json"), **read_object(path)}
    named = {
        name: spelling
        for name, value in fields.items()
        if _NAME.fullmatch(name) and (spelling := _spelling(value))
    }
    special = frozenset([*named.values(), *_further(fields)])
    try:
        entries = cast("dict[str, Any]", fields.get("added_tokens_decoder") or {})
        added = tuple(added_token(int(key), entry) for key, entry in entries.items())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise TokenizerError(
            f"added_tokens_decoder in {path} is not a map from ids to tokens ({error}); give the "
            f"file that belongs to the checkpoint"
        ) from error
    prefix = fields.get("add_prefix_space")
    return TokenizerConfig(
        named,
        special,
        added=tuple(replace(t, special=t.special or t.content in special) for t in added),
        add_bos_token=fields.get("add_bos_token") is True,
        legacy=fields.get("legacy") is True,
        add_prefix_space=prefix if isinstance(prefix, bool) else None,
    )


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file, or an empty one where there is no such file.

    Raises:
        TokenizerError: the file cannot be read or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TokenizerError(not_read(path, error)) from error
    except (ValueError, RecursionError) as error:
        raise TokenizerError(
            git_pointer(path)
            or f"{path} cannot be read ({error}); give the file that belongs to the checkpoint"
        ) from error
    if not isinstance(value, dict):
        raise TokenizerError(f"{path} is not a JSON object; give the checkpoint's own file")
    return cast("dict[str, Any]", value)


def _further(fields: Mapping[str, Any]) -> Iterator[str]:
    """Special tokens without a name, under the older key and the newer one."""
    for key in ("additional_special_tokens", "extra_special_tokens"):
        entries = fields.get(key)
        if isinstance(entries, dict):
            entries = list(cast("dict[str, object]", entries).values())
        if isinstance(entries, list):
            yield from filter(None, map(_spelling, cast("list[object]", entries)))


def _spelling(value: object) -> str:
    """A special token's spelling: files give the string, or an object that has it."""
    if isinstance(value, dict):
        value = cast("dict[str, object]", value).get("content")
    return value if isinstance(value, str) else ""
