"""Compilers for devices that are not there, which not every machine has."""

import importlib.util
import warnings

import pytest


def need(package, what, how):
    """Skips a test, in words that are seen, where a package is not installed."""
    if importlib.util.find_spec(package) is None:
        told = f"NOT TESTED: compiling for {what}. {package} is not installed: {how}"
        warnings.warn(pytest.PytestWarning(told), stacklevel=2)
        pytest.skip(told)
