"""The dimension letters, once, and the logical axis names that shardings refer to.

Shapes in signatures and einsum strings use these letters and no others:

    B  rows of a batch            D  embedding
    T  query tokens of a row      N  query heads, N = K · G
    S  keys of a row              K  key-value heads
    P  cache pages                G  query heads that share one kv head
    F  feed-forward width         H  head dimension
    E  experts                    V  vocabulary
    R  row slots of the engine    M  pages in a row's page table
    X  bytes of an image's patch

In a vision tower (`vision/`) a row is an image, or several side by side, and its tokens are
patches. In a speech model (`speech/`) it is a window of sound, and what is heard are moments.

Parameters, caches and activations name the logical axes below; `mesh.py` maps those to mesh
axes.
"""

VOCAB = "vocab"
EMBED = "embed"
KV_HEADS = "kv_heads"
HEAD_GROUP = "head_group"
QKV_GROUP = "qkv_group"
HEAD_DIM = "head_dim"
FFN = "ffn"
GATE_UP = "gate_up"
EXPERTS = "experts"
EXPERT_FFN = "expert_ffn"
ROUTES = "routes"
ROWS = "rows"
TOKENS = "tokens"
SCORES = "scores"
PAGES = "pages"
PAGE = "page"
LAYERS = "layers"
KEYS_VALUES = "keys_values"
COLUMNS = "columns"
WITHIN_GROUP = "within_group"
IMAGES = "images"
PATCHES = "patches"
PIXELS = "pixels"
POSITIONS = "positions"
MERGED = "merged"
MELS = "mels"
TAPS = "taps"
