"""A decoder without cache, batches or buckets, in NumPy float64: the reference."""

import numpy as np

from model.config import ModelConfig


def _norm(x: np.ndarray, weight: np.ndarray, eps: float) -> np.ndarray:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def _rope(x: np.ndarray, position: int, frequencies: np.ndarray) -> np.ndarray:
    """Component i of the first half turns with component i of the second."""
    half = x.shape[-1] // 2
    angles = position * frequencies
    first, second = x[:half], x[half:]
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin])


def naive_logits(
    config: ModelConfig, parameters: dict[str, np.ndarray], tokens: list[int]
) -> np.ndarray:
    """Logits after every token, [T, V]."""
    p = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
    group, width = config.group_size, config.head_dim
    x = p["embedding.weight"][tokens]
    for layer in range(config.num_layers):
        rope = np.asarray(config.layers[layer].rope.frequencies, np.float64)
        at = f"blocks.{layer}."
        h = _norm(x, p[at + "attention_norm.weight"], config.norm_eps)
        qkv = p[at + "attention.qkv"]
        attended = np.zeros((len(tokens), config.num_heads, width))
        for kv_head in range(config.num_kv_heads):
            keys = h @ qkv[:, kv_head, group]
            values = h @ qkv[:, kv_head, group + 1]
            if config.qk_norm == "head":
                keys = _norm(keys, p[at + "attention.k_norm.weight"], config.norm_eps)
            keys = np.stack([_rope(k, i, rope) for i, k in enumerate(keys)])
            for member in range(group):
                queries = h @ qkv[:, kv_head, member]
                if config.qk_norm == "head":
                    queries = _norm(queries, p[at + "attention.q_norm.weight"], config.norm_eps)
                for i, query in enumerate(queries):
                    scores = keys[: i + 1] @ _rope(query, i, rope) / np.sqrt(width)
                    weights = np.exp(scores - scores.max())
                    mixed = weights @ values[: i + 1] / weights.sum()
                    attended[i, kv_head * group + member] = mixed
        out = p[at + "attention.out"].reshape(config.num_heads * width, config.embed_dim)
        x = x + attended.reshape(len(tokens), -1) @ out
        h = _norm(x, p[at + "mlp_norm.weight"], config.norm_eps)
        gate, up = h @ p[at + "mlp.gate_up"][:, 0], h @ p[at + "mlp.gate_up"][:, 1]
        x = x + (gate / (1 + np.exp(-gate)) * up) @ p[at + "mlp.down"]
    x = _norm(x, p["norm.weight"], config.norm_eps)
    head = p["embedding.weight" if config.tied_head else "head.weight"]
    return x @ head.T
