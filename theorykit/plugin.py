"""How transformers loads a compressed folder: as a quantisation method that an installed package brings.

config.json names the method and the ranks; the plain linear layers of the model are replaced, on the meta device,
before weights are read. No remote code. :func:`register` makes the method known; ``import theorykit`` sees to it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

METHOD = "theorykit_low_rank"
FORMAT_VERSION = 2
"""Version 1 held B under a name of its own, which reads the same."""
_HOST = "transformers.quantizers.auto"


def register() -> None:
    """Make the method known to transformers; once is enough, a second call changes nothing."""
    from transformers.quantizers.auto import (
        AUTO_QUANTIZATION_CONFIG_MAPPING,
        register_quantization_config,
        register_quantizer,
    )

    if METHOD in AUTO_QUANTIZATION_CONFIG_MAPPING:
        return
    # by name: `import theorykit` comes through here, long before anything that needs torch
    classes = import_module("theorykit.compression.checkpoint")
    if METHOD in AUTO_QUANTIZATION_CONFIG_MAPPING or not hasattr(classes, "LowRankQuantizer"):
        return  # it comes here at its end, which is either past or, where it imported transformers itself, still ahead
    register_quantization_config(METHOD)(classes.LowRankConfig)
    register_quantizer(METHOD)(classes.LowRankQuantizer)


class _Registering(Loader):
    """Runs a module as its own loader does, and registers the method behind it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)  # type: ignore[no-any-return]

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        register()


class _Finder(MetaPathFinder):
    """Waits for transformers to import the module that holds the methods, so that nobody else has to import it."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != _HOST:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Registering(spec.loader)
        return spec


def register_when_loaded() -> None:
    """Register now where transformers has been imported, else as soon as it is: ``import theorykit`` stays fast."""
    if _HOST in sys.modules:
        register()
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
