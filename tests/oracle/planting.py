"""Plants a bug in the domain for the duration of a test. Nothing on disk changes.

A bug is one replacement in the source of one module. The changed source is compiled beside the module, and its
functions lend their code to the living ones, so that every module that imported them before has the bug too.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from tallystick import domain
from tests.planting import says

_PLAIN: Final = (int, str, bytes, frozenset, tuple)


@contextmanager
def planted(right: str, wrong: str) -> Iterator[None]:
    """The domain with one text replaced by another. The text must stand in exactly one place."""
    module = _module_thatsays(right)
    source = inspect.getsource(module)
    twin = ModuleType(module.__name__)
    exec(compile(source.replace(right, wrong), module.__name__, "exec"), vars(twin))
    with ExitStack() as stack:
        changes = [*_change_functions(stack, module, twin), *_change_constants(stack, module, twin)]
        assert changes, f"nothing changed in {module.__name__}: plant the bug where it can be reached"
        yield


def _module_thatsays(text: str) -> ModuleType:
    names = [item.name for item in pkgutil.walk_packages(domain.__path__, f"{domain.__name__}.")]
    modules = [importlib.import_module(name) for name in names if ".verification" not in name]
    found = [module for module in modules for _ in range(inspect.getsource(module).count(text))]
    assert len(found) == 1, f"{len(found)} places in the domain say it like this: {text!r}"
    return found[0]


def _functions(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions and methods that a module defines, by their names."""
    holders: list[ModuleType | type] = [module]
    holders += [
        one for one in vars(module).values() if inspect.isclass(one) and one.__module__ == module.__name__
    ]
    for holder in holders:
        for name, value in vars(holder).items():
            function = value.fget if isinstance(value, property) else value
            is_own = getattr(function, "__module__", None) == module.__name__
            if callable(function) and is_own and isinstance(inspect.unwrap(function), FunctionType):
                yield f"{holder.__name__}.{name}", function


def _change_functions(stack: ExitStack, module: ModuleType, twin: ModuleType) -> Iterator[str]:
    twins = dict(_functions(twin))
    for name, function in _functions(module):
        code, changed = _code(function), _code(twins[name])
        if says(code) != says(changed):
            stack.callback(_lend, function, code)
            _lend(function, changed)
            yield name


def _code(function: Callable[..., Any]) -> CodeType:
    unwrapped = inspect.unwrap(function)
    assert isinstance(unwrapped, FunctionType)
    return unwrapped.__code__


def _lend(function: Callable[..., Any], code: CodeType) -> None:
    unwrapped = inspect.unwrap(function)
    assert isinstance(unwrapped, FunctionType)
    unwrapped.__code__ = code
    if (forget := getattr(function, "cache_clear", None)) is not None:
        forget()


def _change_constants(stack: ExitStack, module: ModuleType, twin: ModuleType) -> Iterator[str]:
    for name, value in list(vars(module).items()):
        changed = vars(twin).get(name)
        if name.startswith("__") or not isinstance(value, _PLAIN) or value == changed:
            continue
        stack.callback(setattr, module, name, value)
        setattr(module, name, changed)
        yield name
