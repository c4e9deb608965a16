"""Prompts with pictures, as the reference library's processors write them, for the tests.

    python -m tools.make_picture_prompt_fixtures tests/fixtures

Needs transformers and Pillow, without torch: a developer runs it when a family is added, and
commits what it writes below `images/prompts`: for each family the text files of a checkpoint, made
of those below `text`, and `expected.json` with conversations, the width and height of their
pictures, and the ids of their prompts.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from PIL import Image
from tqdm import tqdm
from transformers import PreTrainedTokenizerFast
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.gemma3.processing_gemma3 import Gemma3Processor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor

# Width and height of pictures among the words of each message; users' and assistants' in turn.
Part = str | tuple[int, int]
SQUARE, WIDE, HIGH = (300, 300), (1000, 300), (270, 700)
CONVERSATIONS: tuple[tuple[tuple[Part, ...], ...], ...] = (
    (("What is this?", SQUARE),),
    ((SQUARE, "What is this?"),),
    ((SQUARE,),),
    (("Compare ", SQUARE, " and ", WIDE, "."),),
    ((SQUARE, HIGH),),
    (("\n\nA\n\n", WIDE, "\nB\n"),),
    ((SQUARE, "One?"), ("A square.",), ("And this? ", HIGH)),
    (("No picture at all.",),),
)
_QWEN = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
    "{% if part.type == 'image' %}{{ '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SCAN = {
    "do_pan_and_scan": True,
    "pan_and_scan_min_crop_size": 256,
    "pan_and_scan_max_num_crops": 4,
    "pan_and_scan_min_ratio_to_activate": 1.2,
}
GEMMA_SIZE = {"height": 56, "width": 56}
GEMMA_TOKENS = 16
QWEN_SIZE = {"shortest_edge": 4_096, "longest_edge": 65_536}


@dataclass(frozen=True)
class Family:
    """One way of writing pictures.

    Attributes:
        text: the directory below `text` with the files that it begins with.
        named: tokens by the names under which the processor asks for them.
        template: of its own; "" for that of `text`.
        make: the processor, of a tokenizer.
        asked: of it in each call.
    """

    text: str
    named: dict[str, str]
    template: str
    make: Callable[[Any], Any]
    asked: dict[str, Any] = field(default_factory=dict[str, Any])


def _gemma(tokenizer: Any) -> Any:
    images = Gemma3ImageProcessorPil(size=GEMMA_SIZE)
    return Gemma3Processor(images, tokenizer, image_seq_length=GEMMA_TOKENS)


def _qwen(tokenizer: Any) -> Any:
    images = Qwen2VLImageProcessorPil(patch_size=16, size=QWEN_SIZE)
    # Of videos, which are not made here, it wants a processor that needs torch.
    Qwen3VLProcessor.check_argument_for_proper_class = lambda *_: None
    return Qwen3VLProcessor(images, tokenizer, None)


_GEMMA_NAMED = {
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
    "image_token": "<image_soft_token>",
}
FAMILIES = {
    "gemma3": Family("gemma3", _GEMMA_NAMED, "", _gemma),
    "gemma3-scanned": Family("gemma3", _GEMMA_NAMED, "", _gemma, SCAN),
    "qwen3-vl": Family(
        "qwen3",
        {
            "image_token": "<|image_pad|>",
            "video_token": "<|video_pad|>",
            "vision_start_token": "<|vision_start|>",
            "vision_end_token": "<|vision_end|>",
        },
        _QWEN,
        _qwen,
    ),
}


def messages_of(conversation: tuple[tuple[Part, ...], ...]) -> list[dict[str, Any]]:
    """A conversation as templates take it."""
    return [
        {
            "role": "assistant" if number % 2 else "user",
            "content": [
                {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
                for part in message
            ],
        }
        for number, message in enumerate(conversation)
    ]


def write(source: Path, directory: Path, family: Family) -> None:
    """The text files of a checkpoint, and what the reference makes of conversations."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(source / "tokenizer.json"), extra_special_tokens=family.named
    )
    template = family.template or (source / "chat_template.jinja").read_text(encoding="utf-8")
    (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    tokenizer.backend_tokenizer.save(str(directory / "tokenizer.json"), pretty=False)
    shutil.copy(source / "tokenizer_config.json", directory)
    processor = family.make(tokenizer)
    begin = json.loads((source / "tokenizer_config.json").read_text()).get("bos_token") or ""
    entries: list[dict[str, Any]] = []
    for conversation in CONVERSATIONS:
        messages = messages_of(conversation)
        text = tokenizer.apply_chat_template(
            messages,
            chat_template=template,
            tokenize=False,
            add_generation_prompt=True,
            bos_token=begin,
        )
        sizes = [part for message in conversation for part in message if not isinstance(part, str)]
        images = [Image.new("RGB", size, (90, 10, 200)) for size in sizes] or None
        made = processor(text=[text], images=images, add_special_tokens=False, **family.asked)
        entries.append({"messages": messages, "sizes": sizes, "ids": list(made["input_ids"][0])})
    (directory / "expected.json").write_text(json.dumps(entries) + "\n", encoding="utf-8")


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
def main(target: Path) -> None:
    """Write all families below TARGET/images/prompts."""
    for name, family in tqdm(FAMILIES.items(), unit="family"):
        write(target / "text" / family.text, target / "images" / "prompts" / name, family)


if __name__ == "__main__":
    main()
