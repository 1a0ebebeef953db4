"""Tensors out of a pickled torch module, without unpickling it.

Some weights are published as a whole pickled module, and to unpickle a file is to run whatever it
says. Here nothing runs: `pickletools` takes the file apart into instructions, and a small machine
follows the few that build plain values. What a file wants to import or call becomes an inert `Stub`
that only remembers what it was given; tensors are recognised by name and read from the archive.

torch's zip format only (torch 1.6 and later). No module's code is needed to read it.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from swapper.errors import EstimatorError

_LARGEST_FILE: Final = 256 << 20
_LONGEST_PROGRAM: Final = 4 << 20
_MOST: Final = 4096
_LONGEST_NAME: Final = 256
_STORAGES: Final[Mapping[str, type[np.generic]]] = {
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "DoubleStorage": np.float64,
    "LongStorage": np.int64,
}
_MARK: Final = object()


@dataclass(slots=True, eq=False)
class Stub:
    """What a file wanted to import, to call or to build; it does nothing.

    Attributes:
        name: Of the import, dotted.
        arguments: What it would have been called with; None before.
        state: What it would have been filled with.
    """

    name: str
    arguments: tuple[Any, ...] | None = None
    state: dict[Any, Any] = field(default_factory=dict)


def harvest(path: Path) -> dict[str, Tensor]:
    """The parameters and buffers of a module saved whole by ``torch.save``.

    Args:
        path: Of the file; it may be hostile.

    Returns:
        By the names that ``state_dict()`` would give them, in main memory, contiguous.

    Raises:
        EstimatorError: It is no such file, damaged, too large or asks for more than tensors.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ValueError("larger than 256 MiB")
        with zipfile.ZipFile(path) as archive:
            root = _root(archive)
            module = _Machine(_entry(archive, f"{root}data.pkl", _LONGEST_PROGRAM)).run()
            return _read(archive, root, _walk(module))
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError,
            MemoryError, zipfile.BadZipFile) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise EstimatorError(f"{path}: no module that torch saved ({reason})") from error


def _root(archive: zipfile.ZipFile) -> str:
    """The folder in the archive, with its slash."""
    # Entries may overlap, so that a small file holds much.
    if sum(each.file_size for each in archive.infolist()) > _LARGEST_FILE:
        raise ValueError("it unpacks to more than 256 MiB")
    for name in archive.namelist():
        if name.count("/") == 1 and name.endswith("/data.pkl"):
            return name.removesuffix("data.pkl")
    raise ValueError("it holds no data.pkl; of torch's formats only zip is read")


def _entry(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    info = archive.getinfo(name)
    # torch never compresses, so what unpacks to more than it weighs is not torch's.
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > most:
        raise ValueError(f"{name[:80]} is compressed or too large")
    return archive.read(info)


def _walk(module: Any) -> dict[str, Any]:
    """Each tensor in a module and what it holds, by name, as the stub that it still is."""
    found: dict[str, Any] = {}
    waiting = [("", module)]
    for _ in range(_MOST):  # of modules too: one that holds itself would never end
        if not waiting:
            break
        prefix, module = waiting.pop()
        if not isinstance(module, Stub):
            raise ValueError(f"{prefix or 'it'} is no module")
        for part in ("_parameters", "_buffers", "_modules"):
            for name, value in dict(module.state.get(part) or {}).items():
                if not isinstance(name, str) or len(prefix) + len(name) > _LONGEST_NAME:
                    raise ValueError("a tensor has no sensible name")
                if part == "_modules" and value is not None:
                    waiting.append((f"{prefix}{name}.", value))
                elif value is not None:
                    found[f"{prefix}{name}"] = value
    if waiting or len(found) > _MOST:
        raise ValueError(f"more than {_MOST} tensors or modules")
    if not found:
        raise ValueError("it holds no tensors")
    return found


def _read(archive: zipfile.ZipFile, root: str, found: Mapping[str, Any]) -> dict[str, Tensor]:
    storages: dict[str, Tensor] = {}
    tensors, total = {}, 0
    for name, stub in found.items():
        key, kind, layout = _described(stub)
        if key not in storages:
            flat = np.frombuffer(_entry(archive, f"{root}data/{key}", _LARGEST_FILE), kind)
            storages[key] = torch.from_numpy(flat.astype(kind.newbyteorder("="), copy=True))
        tensors[name] = _tensor(storages[key], *layout)
        total += tensors[name].nbytes
        if total > _LARGEST_FILE:
            raise ValueError("its tensors are larger than 256 MiB")
    return tensors


def _described(stub: Any) -> tuple[str, np.dtype[Any], tuple[Any, Any, Any]]:
    """Storage, kind of number and (offset, size, stride) of a tensor."""
    if isinstance(stub, Stub) and stub.name.startswith("torch._utils._rebuild_parameter"):
        stub = (stub.arguments or (None,))[0]
    if not isinstance(stub, Stub) or stub.name != "torch._utils._rebuild_tensor_v2":
        raise ValueError("it holds something that is no plain tensor")
    storage, offset, size, stride = (stub.arguments or ())[:4]
    _, kind, key, _, _ = storage.arguments
    if not (isinstance(key, str) and key.isdecimal()):
        raise ValueError("a storage has no number")
    dtype = np.dtype(_STORAGES[kind.name.removeprefix("torch.")]).newbyteorder("<")
    return key, dtype, (offset, size, stride)


def _tensor(storage: Tensor, offset: Any, size: Any, stride: Any) -> Tensor:
    """A contiguous copy of part of a storage."""
    numbers = (offset, *size, *stride)
    sound = all(type(each) is int and 0 <= each <= _LARGEST_FILE for each in numbers)
    if not sound or len(size) != len(stride) or len(size) > 8:
        raise ValueError("a tensor's shape is no shape")
    count = math.prod(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if count and (count > len(storage) or last >= len(storage)):
        raise ValueError("a tensor reaches beyond its storage")
    return storage.as_strided(size, stride, offset).clone(memory_format=torch.contiguous_format)


class _Machine:
    """Follows a pickle's instructions as far as they build plain values and stubs.

    Args:
        program: The pickle's bytes.
    """

    def __init__(self, program: bytes) -> None:
        self.program = program
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """The value that it builds.

        Raises:
            ValueError: An instruction that no module needs.
        """
        for code, argument, _ in pickletools.genops(self.program):
            if code.name == "STOP":
                return self.stack.pop()
            if code.name in _CONSTANTS:
                self.stack.append(_CONSTANTS[code.name]())
            elif code.name in _LITERALS:
                self.stack.append(argument)
            elif code.name in _STEPS:
                _STEPS[code.name](self, argument)
            elif code.name not in ("PROTO", "FRAME"):
                raise ValueError(f"asks for {code.name}, which no tensor needs")
        raise ValueError("ends early")

    def marked(self) -> list[Any]:
        """Take everything down to the last mark."""
        for start in range(len(self.stack) - 1, -1, -1):
            if self.stack[start] is _MARK:
                taken = self.stack[start + 1 :]
                del self.stack[start:]
                return taken
        raise ValueError("takes more than it put")

    def tuple_of(self, count: int) -> None:
        """Bind the last `count` values."""
        if len(self.stack) < count:
            raise ValueError("takes more than it put")
        self.stack[-count:] = [tuple(self.stack[-count:])]

    def remember(self, key: int | None) -> None:
        """Keep the last value under a number, by default the next."""
        self.memo[len(self.memo) if key is None else key] = self.stack[-1]

    def put(self, pairs: list[Any]) -> None:
        """Fill the dictionary, or a stub of one, on top of the stack."""
        target = self.stack[-1]
        content = target.state if isinstance(target, Stub) else target
        if not isinstance(content, dict):
            raise ValueError("fills what is no dictionary")
        # To hash tuples within tuples can take for ever.
        if not all(isinstance(key, (str, int, float, Stub, NoneType)) for key in pairs[::2]):
            raise ValueError("has keys of an odd kind")
        content.update(zip(pairs[::2], pairs[1::2], strict=True))

    def append(self, values: list[Any]) -> None:
        """Lengthen the list on top of the stack; a set or a stub only swallows."""
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Stub):
            raise ValueError("lengthens what is no list")

    def call(self) -> None:
        """Calls nothing: what would be called is a stub that takes its arguments down."""
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, Stub) or not isinstance(arguments, tuple):
            raise ValueError("calls what cannot be called")
        empty = called.name == "collections.OrderedDict" and not arguments
        self.stack.append({} if empty else Stub(called.name, arguments))

    def build(self) -> None:
        """Fill a stub with the dictionary that it would have had."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Stub) and isinstance(state, dict):
            target.state.update(state)

    def import_from_stack(self) -> None:
        """Imports nothing: leaves a stub of that name."""
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("imports what has no name")
        self.stack.append(Stub(f"{module}.{name}"))


_CONSTANTS: Final[Mapping[str, Callable[[], Any]]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": lambda: Stub("builtins.set"),
    "MARK": lambda: _MARK,
}
_LITERALS: Final = (
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES"),
)
_STEPS: Final[Mapping[str, Callable[[_Machine, Any], None]]] = {
    "POP": lambda machine, _: machine.stack.pop() and None,
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.marked())),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "BINPUT": lambda machine, key: machine.remember(key),
    "LONG_BINPUT": lambda machine, key: machine.remember(key),
    "MEMOIZE": lambda machine, _: machine.remember(None),
    "BINGET": lambda machine, key: machine.stack.append(machine.memo[key]),
    "LONG_BINGET": lambda machine, key: machine.stack.append(machine.memo[key]),
    "SETITEM": lambda machine, _: machine.put([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.put(machine.marked()),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.marked()),
    "ADDITEMS": lambda machine, _: machine.append(machine.marked()),
    "GLOBAL": lambda machine, name: machine.stack.append(Stub(name.replace(" ", "."))),
    "STACK_GLOBAL": lambda machine, _: machine.import_from_stack(),
    "REDUCE": lambda machine, _: machine.call(),
    "NEWOBJ": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
    "BINPERSID": lambda machine, _: machine.stack.append(Stub("storage", machine.stack.pop())),
}
