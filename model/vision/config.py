"""The shapes of vision towers, one class for each family, resolved once at start-up.

How a published `config.json` maps onto them is `model/families`' business.
"""

from dataclasses import dataclass
from itertools import pairwise

from model.config import CheckpointError


@dataclass(frozen=True, slots=True)
class Normalization:
    """What a tower makes of a byte: (byte · scale - mean) / deviation.

    Attributes:
        scale: factor of a byte.
        mean: of each channel: red, green, blue.
        deviation: the same.
    """

    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    deviation: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.deviation) != 3 or not all(self.deviation):
            raise CheckpointError(
                f"images are normalized by the means {self.mean} and the deviations "
                f"{self.deviation}; there must be three of each, and no deviation of zero"
            )


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """What the towers of all families have.

    Attributes:
        embed_dim: D of the tower.
        ffn_dim: F.
        num_heads: K, each with keys of its own; divides D.
        num_layers: blocks.
        patch_size: pixels along a side of a patch.
        out_dim: D of the decoder.
        image_token: the id that stands for each vector of an image in a prompt.
        begin_token: the id before them.
        end_token: the id after them.
        norm_eps: added to the variance in layer norms.
        pixels: how bytes are normalized.
    """

    embed_dim: int
    ffn_dim: int
    num_heads: int
    num_layers: int
    patch_size: int
    out_dim: int
    image_token: int
    begin_token: int
    end_token: int
    norm_eps: float = 1e-6
    pixels: Normalization = Normalization()

    def __post_init__(self) -> None:
        if self.embed_dim % self.num_heads:
            raise CheckpointError(
                f"{self.num_heads} heads do not divide the vision tower's hidden_size of "
                f"{self.embed_dim}"
            )

    @property
    def head_dim(self) -> int:
        """H."""
        return self.embed_dim // self.num_heads

    @property
    def patch_values(self) -> int:
        """X, bytes of a patch: of each channel its rows of columns."""
        return 3 * self.patch_size**2

    @property
    def deepstack(self) -> tuple[int, ...]:
        """Blocks after which vectors leave for the first layers of the decoder, one for each."""
        return ()

    @property
    def sees_ahead(self) -> bool:
        """Whether in the decoder tokens of an image see all of it, what comes after them too."""
        return False

    @property
    def has_axes(self) -> bool:
        """Whether in the decoder tokens of an image are rotated by rows and columns."""
        return False


@dataclass(frozen=True, slots=True)
class Gemma3VisionConfig(VisionConfig):
    """SigLIP and Gemma 3's projector: images of one size, each as many vectors.

    Attributes:
        patch_side: patches along a side of an image.
        token_side: vectors along a side of it; divides the patches.
    """

    patch_side: int = 64
    token_side: int = 16

    def __post_init__(self) -> None:
        # Not by super(): a class with slots is made anew, and super() would know the old one.
        VisionConfig.__post_init__(self)
        if self.token_side < 1 or self.patch_side % self.token_side:
            raise CheckpointError(
                f"{self.token_side} vectors along a side of an image do not divide its "
                f"{self.patch_side} patches"
            )

    @property
    def image_patches(self) -> int:
        """T, patches of an image."""
        return self.patch_side**2

    @property
    def sizes(self) -> tuple[int, ...]:
        """Patches that a call takes: of one image, two or four."""
        return tuple(count * self.image_patches for count in (1, 2, 4))

    @property
    def together(self) -> int:
        """Patches up to which images share a call: each attends to itself alone."""
        return self.sizes[-1]

    @property
    def sees_ahead(self) -> bool:
        """See `VisionConfig`."""
        return True

    @property
    def most_tokens(self) -> int:
        """Vectors that an image becomes at most."""
        return self.token_side**2

    def tokens(self, patches: int) -> int:
        """Vectors that so many patches become."""
        return patches * self.token_side**2 // self.image_patches


@dataclass(frozen=True, slots=True)
class Qwen3VLVisionConfig(VisionConfig):
    """Qwen3-VL's tower: images of any size.

    Attributes:
        position_side: learned positions along a side of their square table.
        merge: patches along a side of the square that becomes one vector.
        frames: pictures that a patch stacks; an image is as many equal ones.
        deepstack_layers: see `deepstack`.
        rope_theta: base of the rotary embedding of rows and columns.
    """

    position_side: int = 48
    merge: int = 2
    frames: int = 2
    deepstack_layers: tuple[int, ...] = ()
    rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        # See above.
        VisionConfig.__post_init__(self)
        if self.head_dim % 4:
            raise CheckpointError(
                f"heads of the vision tower have {self.head_dim} components; rows and columns "
                "need a multiple of four"
            )
        layers = self.deepstack_layers
        rising = all(low < high for low, high in pairwise(layers))
        if not rising or not all(0 <= layer < self.num_layers for layer in layers):
            raise CheckpointError(
                f"deepstack_visual_indexes is {list(layers)}; it must be blocks of the "
                f"{self.num_layers} there are, in their order"
            )

    @property
    def patch_values(self) -> int:
        """X, bytes of a patch: of each channel its frames of rows of columns."""
        return 3 * self.frames * self.patch_size**2

    @property
    def deepstack(self) -> tuple[int, ...]:
        """See `VisionConfig`."""
        return self.deepstack_layers

    @property
    def sizes(self) -> tuple[int, ...]:
        """Patches that a call takes, fewer ones being filled up: up to an image of 2048 x 2048."""
        return (1024, 2048, 4096, 8192, 16384)

    @property
    def has_axes(self) -> bool:
        """See `VisionConfig`."""
        return True

    @property
    def most_tokens(self) -> int:
        """Vectors that an image becomes at most."""
        return self.tokens(self.sizes[-1])

    @property
    def together(self) -> int:
        """Patches up to which images share a call: every patch is compared with every other."""
        return 4096

    def tokens(self, patches: int) -> int:
        """Vectors that so many patches become."""
        return patches // self.merge**2


# Of the families that there are.
AnyVisionConfig = Gemma3VisionConfig | Qwen3VLVisionConfig
