"""xinst_jax: from web text in a low-resource language to a model that answers in it."""

__version__ = "0.1.0"
