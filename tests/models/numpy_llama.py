"""A Llama forward pass in float64 NumPy, one sequence at a time: the models' oracle.

Written from the papers' formulas: complex rotations, loops over heads, no cache.
"""

import numpy as np


def _norm(x_td, scale_d, eps):
    return x_td / np.sqrt((x_td**2).mean(-1, keepdims=True) + eps) * scale_d


def _rotate(x_th, theta):
    length, width = x_th.shape
    half = width // 2
    pairs = x_th[:, :half] + 1j * x_th[:, half:]
    frequency = theta ** (-2.0 * np.arange(half) / width)
    turned = pairs * np.exp(1j * np.arange(length)[:, None] * frequency)
    return np.concatenate([turned.real, turned.imag], axis=1)


def _softmax(x):
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def _attend(x_td, attention, layer, config):
    length, group = len(x_td), config.num_heads // config.num_kv_heads
    visible = np.tril(np.ones((length, length), bool))
    out_td = np.zeros_like(x_td)
    for head in range(config.num_heads):
        q_th = x_td @ attention["query_ldnh"][layer][:, head]
        k_th = x_td @ attention["key_ldkh"][layer][:, head // group]
        v_th = x_td @ attention["value_ldkh"][layer][:, head // group]
        q_th, k_th = (_rotate(x, config.rope_theta) for x in (q_th, k_th))
        scores = q_th @ k_th.T / np.sqrt(config.head_dim)
        weights = _softmax(np.where(visible, scores, -np.inf))
        out_td += weights @ v_th @ attention["out_lnhd"][layer][head]
    return out_td


def forward(params, config, tokens):
    """Final-normed hidden states (T, D) and logits (T, V) of one unpacked sequence."""
    params = _float64(params)
    layers, table_vd = params["layers"], params["embedding"]["table_vd"]
    x_td = table_vd[np.asarray(tokens)]
    for layer in range(config.num_layers):
        scale_d = layers["attention_norm"]["scale_ld"][layer]
        normed_td = _norm(x_td, scale_d, config.norm_eps)
        x_td = x_td + _attend(normed_td, layers["attention"], layer, config)
        scale_d = layers["mlp_norm"]["scale_ld"][layer]
        normed_td = _norm(x_td, scale_d, config.norm_eps)
        gate_tf = normed_td @ layers["mlp"]["gate_ldf"][layer]
        up_tf = normed_td @ layers["mlp"]["up_ldf"][layer]
        active_tf = gate_tf / (1 + np.exp(-gate_tf)) * up_tf
        x_td = x_td + active_tf @ layers["mlp"]["down_lfd"][layer]
    x_td = _norm(x_td, params["final_norm"]["scale_d"], config.norm_eps)
    head_vd = table_vd if config.tie_embeddings else params["head"]["table_vd"]
    return x_td, x_td @ head_vd.T


def log_softmax(logits_tv):
    """Natural logarithms of the softmax over the last axis."""
    return np.log(_softmax(logits_tv))


def random_params(abstract, seed, scale=0.3):
    """Fresh normal weights, and norms around 1, of the abstract tree's shapes."""
    rng = np.random.default_rng(seed)
    return _map(
        lambda name, leaf: (
            rng.normal(size=leaf.shape) * scale + name.startswith("scale")
        ).astype(np.float32),
        abstract,
    )


def _float64(params):
    return _map(lambda _, leaf: np.asarray(leaf, np.float64), params)


def _map(function, tree):
    return {
        name: _map(function, node) if isinstance(node, dict) else function(name, node)
        for name, node in tree.items()
    }
