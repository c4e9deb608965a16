"""Write small tokenizers and templates of every family, and what the reference makes of them.

    pip install -e '.[fixtures]'
    python -m tools.make_text_fixtures

For each family of `tools/text_fixtures/families.py` a directory below `tests/fixtures/text`: the
files of a checkpoint that have to do with text, and `expected.json` with the token ids and the
rendered conversations of the reference library (transformers; it needs no PyTorch for this).
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import click
import jinja2
import transformers  # pyright: ignore[reportMissingImports]  (an extra of its own)
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers.convert_slow_tokenizer import (  # pyright: ignore[reportMissingImports]
    SentencePieceExtractor,
)
from transformers.utils import chat_template_utils  # pyright: ignore[reportMissingImports]

from tools.text_fixtures.cases import CONVERSATIONS, TEXTS, Message
from tools.text_fixtures.families import FAMILIES, Family
from tools.text_fixtures.training import add, converted

_TEMPLATES = Path(__file__).parent / "text_fixtures" / "templates"
_TARGET = Path(__file__).parent.parent / "tests" / "fixtures" / "text"
# What templates that ask for the date are told; tests tell them the same.
_TODAY = datetime(2025, 3, 14)


class _Clock:
    @staticmethod
    def now() -> datetime:
        return _TODAY


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def _converted(model: Path, family: Family) -> Tokenizer:
    extracted: Any = SentencePieceExtractor(str(model)).extract(transformers.LlamaTokenizer.model)
    made = converted(extracted["vocab"], extracted["merges"], family.conversion)
    add(made, family.added)
    return made


def write_checkpoint(directory: Path, name: str, family: Family) -> None:
    """The files of a checkpoint, as far as they have to do with text."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = family.tokenizer() if family.tokenizer else None
    if family.model is not None:
        path = directory / "tokenizer.model"
        path.write_bytes(family.model())
        tokenizer = _converted(path, family) if family.conversion else None
    config: dict[str, Any] = dict(family.config)
    if tokenizer is not None:
        if family.begins:
            begin = config["bos_token"]
            tokenizer.post_processor = TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
                single=f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]
            )
        tokenizer.save(str(directory / "tokenizer.json"), pretty=False)
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        config["added_tokens_decoder"] = {
            str(token): {
                "content": added.content,
                "lstrip": added.lstrip,
                "rstrip": added.rstrip,
                "normalized": added.normalized,
                "single_word": added.single_word,
                "special": added.special,
            }
            for token, added in sorted(tokenizer.get_added_tokens_decoder().items())
        }
    else:
        config["tokenizer_class"] = "LlamaTokenizer"
    template = (_TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
    match family.place:
        case "jinja":
            (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
        case "json":
            _write_json(directory / "chat_template.json", {"chat_template": template})
        case "list":
            other = "{{ raise_exception('the template for tools') }}"
            config["chat_template"] = [
                {"name": "default", "template": template},
                {"name": "tool_use", "template": other},
            ]
        case _:
            config["chat_template"] = template
    _write_json(directory / "tokenizer_config.json", config)


def _reference(directory: Path) -> Any:
    config = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))
    kind = getattr(transformers, config["tokenizer_class"])
    return kind.from_pretrained(str(directory))


def _as_template_takes_it(messages: list[Message], template: str, *, parts: bool) -> list[Message]:
    """The two conversions that Parlance documents, which the reference leaves to its callers."""
    fitted: list[Message] = []
    for message in messages:
        taken = dict(message)
        if taken["role"] == "developer" and '"developer"' not in template:
            taken["role"] = "system"
        if isinstance(taken["content"], list) and not parts:
            taken["content"] = "".join(part["text"] for part in taken["content"])
        fitted.append(taken)
    return fitted


def record(directory: Path, name: str, family: Family) -> None:
    """Write `expected.json`: what the reference makes of the texts and the conversations."""
    reference = _reference(directory)
    template = (_TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")
    conversations: list[dict[str, Any]] = []
    for title, messages in CONVERSATIONS.items():
        for prompt in (True, False) if title == "assistant last" else (True,):
            entry: dict[str, Any] = {"title": title, "messages": messages, "prompt": prompt}
            taken = _as_template_takes_it(messages, template, parts=family.parts)
            asked = {"chat_template": template, "add_generation_prompt": prompt}
            try:
                entry["text"] = reference.apply_chat_template(taken, tokenize=False, **asked)
                ids = reference.apply_chat_template(
                    taken, tokenize=True, return_dict=False, **asked
                )
                entry["ids"] = list(ids)
            except jinja2.TemplateError as error:
                entry["error"] = str(error)
            conversations.append(entry)
    spelled = [" ".join(["x", *reference.all_special_tokens, "y"]), *reference.all_special_tokens]
    texts = [
        {"text": text, "ids": reference.encode(text, add_special_tokens=False)} for text in TEXTS
    ]
    texts += [
        {
            "text": text,
            "ids": reference.encode(text, add_special_tokens=False, split_special_tokens=True),
        }
        for text in spelled
    ]
    controls = cast("dict[str, int]", reference.get_vocab())
    if family.end:
        _write_json(
            directory / "generation_config.json",
            {"eos_token_id": [controls[spelling] for spelling in family.end]},
        )
    _write_json(
        directory / "expected.json",
        {
            "library": f"transformers {transformers.__version__}",
            "raw": reference.encode("a b"),
            "texts": texts,
            "conversations": conversations,
        },
    )


@click.command()
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...]) -> None:
    """Write the fixtures of the families NAMES, or of all."""
    chat_template_utils.datetime = _Clock  # pyright: ignore[reportPrivateImportUsage]
    for name in names or FAMILIES:
        write_checkpoint(_TARGET / name, name, FAMILIES[name])
        record(_TARGET / name, name, FAMILIES[name])
        size = sum(path.stat().st_size for path in (_TARGET / name).iterdir())
        click.echo(f"{name}: {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
