"""Options that hold one value are given once: the command line does not silently take the last of several."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from theorykit.errors import InputError


class OnceCommand(TyperCommand):
    """A command that refuses an option given twice, unless it holds a list."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, once none of them is given twice."""
        options = {
            name: param
            for param in self.get_params(ctx)
            if param.param_type_name == "option" and not getattr(param, "is_flag", False)
            for name in param.opts
        }
        given: dict[str, list[str]] = {}
        rest = iter(args)
        for word in rest:
            if word == "--":
                break
            name, sign, value = word.partition("=")
            if name in options:  # what is behind it is its value, whatever it looks like
                given.setdefault(options[name].opts[0], []).append(value if sign else next(rest, ""))
        for name, values in given.items():
            if len(values) > 1 and not options[name].multiple:
                raise InputError(f"{name} is given {len(values)} times: {', '.join(values)}", f"give one {name}")
        return super().parse_args(ctx, args)
