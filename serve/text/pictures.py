"""How prompts write pictures: what a template's mark for one becomes, and where its tokens stand.

Knows nothing of pixels: a picture is the views that the model looks at, each of so many tokens.

    rendered   <start_of_image>What is it?
    written    \\n\\n<start_of_image><image_soft_token><end_of_image>\\n\\nWhat is it?
    ids        … <start_of_image> <image_soft_token> × 256 <end_of_image> …
"""

from collections.abc import Sequence
from dataclasses import dataclass

# Of each view of a picture, the whole of it first, the tokens that it becomes.
Views = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PictureForm:
    """How a model's prompts write pictures.

    Attributes:
        mark: the control token that templates write for a picture.
        token: the control token that stands for each vector of a view.
        view: what is written for a view, with `token` once.
        several: the same for the first of several views and the others.
    """

    mark: str
    token: str
    view: str
    several: str = ""

    def written(self, views: Views) -> str:
        """What is written for a picture, before its tokens are multiplied."""
        if len(views) == 1:
            return self.view
        others = " ".join([self.view] * (len(views) - 1))
        return self.several.format(first=self.view, others=others)


def gemma3_form(token: str, begin: str, end: str) -> PictureForm:
    """Gemma 3's, in the words of the reference's processor."""
    return PictureForm(
        mark=begin,
        token=token,
        view=f"\n\n{begin}{token}{end}\n\n",
        several=(
            "Here is the original image {first} and here are some crops to help you see better "
            "{others}"
        ),
    )


def qwen3_vl_form(token: str) -> PictureForm:
    """Qwen3-VL's: the template itself writes what stands around."""
    return PictureForm(mark=token, token=token, view=token)


def starts(ids: Sequence[int], token: int, pictures: Sequence[Views]) -> list[int]:
    """Where the tokens of each view begin in a prompt that `Renderer.render` made.

    No text becomes the token, so all that are there are the pictures' own.
    """
    found: list[int] = []
    position = 0
    for views in pictures:
        for count in views:
            found.append(ids.index(token, position))
            position = found[-1] + count
    return found
