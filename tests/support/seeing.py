"""A house whose model sees, as far as prompts go: Qwen3-VL's way, of small pictures."""

import base64
import io
from typing import Any

from PIL import Image

from serve.media.processors.qwen3_vl import Qwen3VLProcessor
from serve.sight import Sight
from serve.text.pictures import gemma3_form, qwen3_vl_form

CONTROLS = ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")
_PART = (
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}"
)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}" + _PART + "{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# A token for each 32 × 32 pixels, pictures being left as large as they are.
PROCESSOR = Qwen3VLProcessor(min_pixels=32 * 32)
QWEN = Sight(qwen3_vl_form("<|image_pad|>"), PROCESSOR)
GEMMA = Sight(gemma3_form("<|image_pad|>", "<|vision_start|>", "<|vision_end|>"), PROCESSOR)


def seeing_house(make_house: Any, **given: Any) -> Any:
    """One of `make_house`, which sees."""
    return make_house(**{"template": TEMPLATE, "controls": CONTROLS, "sight": QWEN, **given})


def png(width: int, height: int, colour: tuple[int, int, int] = (200, 10, 10)) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def data_url(data: bytes, kind: str = "image/png") -> str:
    """A file as requests carry it."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image(width: int = 64, height: int = 32, **fields: Any) -> dict[str, Any]:
    """A part that is a picture, of a token for each 32 × 32 pixels."""
    url = data_url(png(width, height))
    return {"type": "image_url", "image_url": {"url": url, **fields}}


def text(words: str) -> dict[str, Any]:
    """A part that is text."""
    return {"type": "text", "text": words}


def file(**fields: Any) -> dict[str, Any]:
    """A part that is a file."""
    return {"type": "file", "file": fields}
