"""Living functions borrow the code of a changed source, here or in a server, which need not start for each change."""

import gc
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Listener
from threading import Thread
from types import CodeType, FunctionType


def listen(address: str) -> None:
    """Take changes from a Unix socket: the name of a module and its source. Answers how many functions changed."""
    Thread(target=_serve, args=(address,), name="planting", daemon=True).start()


def _serve(address: str) -> None:
    with Listener(address) as listener:
        while True:
            with suppress(EOFError), listener.accept() as caller:
                while True:
                    caller.send(_lend(*caller.recv()))


def _lend(module: str, source: str) -> int:
    """Give the functions of a module the code that they have in another source. Returns how many change."""
    codes = dict(_codes(compile(source, str(sys.modules[module].__file__), "exec")))
    # What is frozen is not listed.
    gc.unfreeze()
    changing = [
        one
        for one in gc.get_objects()
        if type(one) is FunctionType
        and one.__module__ == module
        and says(codes.get(one.__code__.co_qualname, one.__code__)) != says(one.__code__)
    ]
    for function in changing:
        function.__code__ = codes[function.__code__.co_qualname]
    return len(changing)


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    """The code of functions, by their names. Those that share a name are left out."""
    inner = [one for one in code.co_consts if isinstance(one, CodeType)]
    counts = Counter(one.co_qualname for one in inner)
    for one in inner:
        if counts[one.co_qualname] == 1:
            yield one.co_qualname, one
        yield from _codes(one)


def says(code: CodeType) -> tuple[object, ...]:
    """What a function does, without the lines that it stands on."""
    constants = tuple(
        says(constant) if isinstance(constant, CodeType) else (type(constant), constant)
        for constant in code.co_consts
    )
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants
