# SPDX-License-Identifier: GPL-2.0-or-later
"""Addresses that the user gives: hex, symbols, members of variables, expressions."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import drgn

from pageproof import arch
from pageproof.errors import PageproofError
from pageproof.find.helpers import load_all_helpers
from pageproof.find.kernel.debuginfo import plain_type
from pageproof.find.kernel.named import find_symbol, find_variable

_HEX: Final = re.compile(r"(0[xX])?[0-9a-fA-F]+(_[0-9a-fA-F]+)*")
_PATH: Final = re.compile(
    r"(?P<amp>&?)(?P<name>[A-Za-z_]\w*)(?P<rest>((\.|->)[A-Za-z_]\w*|\[\d+\])*)"
)
_POINTER_BYTES: Final = 8
#: The function that replaces ``prog["name"]`` in an expression.
_FIND: Final = "__pageproof_variable"
_STEP: Final = re.compile(r"(?:\.|->)(?P<member>\w+)|\[(?P<index>\d+)\]")


def parse_hex(text: str) -> int | None:
    """Parse a 64-bit number in hex, with or without 0x; None if the text is not one."""
    if not _HEX.fullmatch(text):
        return None
    value = int(text, 16)
    return value if value < 1 << 64 else None


def _as_it_is(variable: drgn.Object) -> drgn.Object:
    return variable


def find_address(
    prog: drgn.Program,
    text: str | int,
    choose: Callable[[drgn.Object], drgn.Object] = _as_it_is,
) -> int:
    """Return the address that a text names.

    Hex is tried first: ``add`` is 0xadd. Otherwise the text is a variable with members
    (``umh_shm_region.kaddr``) or a symbol. A pointer gives the address that it points to. Any other
    object, and everything after ``&``, gives its own address.

    Args:
        prog: the target.
        text: as the user wrote it.
        choose: called with the variable before its members are read, to replace it by the copy of
            one CPU.

    Raises:
        PageproofError: the text names nothing.
    """
    if isinstance(text, int):
        return text
    value = parse_hex(text)
    if value is not None:
        return value
    match = _PATH.fullmatch(text)
    if match is None:
        raise PageproofError(
            "this is not an address",
            repr(text),
            "give hex, a symbol, or a variable and its members",
        )
    try:
        found = choose(prog[match["name"]])
        for step in _STEP.finditer(match["rest"]):
            found = found.member_(step["member"]) if step["member"] else found[int(step["index"])]
        if not match["amp"] and found.type_.kind is drgn.TypeKind.POINTER:
            return int(found.value_())
        if found.address_ is None:
            raise PageproofError("this is a value and not an address", repr(text))
        return int(found.address_)
    except (AttributeError, TypeError) as error:
        raise PageproofError(f"this is not an address: {error}", repr(text)) from None
    except drgn.FaultError as error:
        raise PageproofError(f"the address can't be read: {error}", repr(text)) from None
    except drgn.ObjectAbsentError:
        raise PageproofError(
            "the compiler optimized this variable out", repr(text), "give an address"
        ) from None
    except drgn.OutOfBoundsError as error:
        raise PageproofError(f"there is no such element: {error}", repr(text)) from None
    except LookupError:
        if match["rest"]:
            raise _not_found(text) from None
    try:
        return int(prog.symbol(match["name"]).address)
    except LookupError:
        raise _not_found(text) from None


@dataclass(frozen=True)
class UserSide:
    """The user side of a mapping, for expressions: addresses, 0 if there is none.

    Attributes:
        vma: ``struct vm_area_struct *``.
        file: its ``struct file *``.
        operations: the file's ``struct file_operations *``. Names in the module that contains it
            take precedence over the same names elsewhere.
    """

    vma: int = 0
    file: int = 0
    operations: int = 0


@dataclass(frozen=True)
class KernelAddress:
    """A kernel address that the user gave.

    Attributes:
        by_value: if it is the value of an integer variable, a description of the variable; else "".
    """

    address: int
    by_value: str = ""


def kernel_address(prog: drgn.Program, address: str | int, user: UserSide) -> KernelAddress:
    """Return the kernel address of a comparison. The text may refer to the user side.

    The text is hex, a variable and its members, or an expression, see :func:`evaluate`. A pointer,
    or an integer of a pointer's size, gives its value. Any other object gives its own address.

    Raises:
        PageproofError: the text does not give a kernel address, or a name is ambiguous.
    """
    found: object
    text = f"{address:x}" if isinstance(address, int) else address
    path = _PATH.fullmatch(text)
    try:
        if (value := parse_hex(text)) is not None:
            found = value
        elif path and path["name"] not in ("vma", "file"):
            found = _at_path(prog, path, user)
        else:
            found = evaluate(prog, text, user)
        taken = _address_of(found, text)
    except (drgn.FaultError, drgn.ObjectAbsentError) as error:
        raise PageproofError(f"the address can't be read: {error}", repr(text)) from None
    if taken is None:
        raise PageproofError(f"this is a {type(found).__name__} and not an address", repr(text))
    if taken.address not in _kernel_half(prog):
        what = f"this gives {taken.address:#x}, which is not a kernel address"
        if taken.by_value:
            raise PageproofError(f"{what}: {taken.by_value}", "", _own_address(text))
        raise PageproofError(what, repr(text))
    return taken


def _own_address(text: str) -> str:
    return f"give &{text} for the variable's own address" if _PATH.fullmatch(text) else ""


def _kernel_half(prog: drgn.Program) -> range:
    return arch.of_program(prog).kernel_half(prog)


def _at_path(prog: drgn.Program, path: re.Match[str], user: UserSide) -> object:
    """Return a variable or member; the address of a symbol that has no type.

    Raises:
        PageproofError: the text names nothing, or several variables have the name.
    """
    text, name = path[0], path["name"]
    found = find_variable(prog, name, user.operations)
    if found is None:
        symbol = None if path["rest"] else find_symbol(prog, name, user.operations)
        if symbol is None:
            raise _not_found(text)
        return symbol
    try:
        for step in _STEP.finditer(path["rest"]):
            found = found.member_(step["member"]) if step["member"] else found[int(step["index"])]
        return found.address_of_() if path["amp"] else found
    except LookupError:
        raise _not_found(text) from None
    except (AttributeError, TypeError, ValueError) as error:
        raise PageproofError(f"this is not an address: {error}", repr(text)) from None


class _Names(ast.NodeTransformer):
    """Replaces ``prog["name"]`` by a look-up that prefers the module of the file."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        self.generic_visit(node)
        if (
            isinstance(node.value, ast.Name)
            and node.value.id == "prog"
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
        ):
            call = ast.Call(ast.Name(_FIND, ast.Load()), [node.slice], [])
            return ast.copy_location(ast.fix_missing_locations(call), node)
        return node


def check_syntax(text: str) -> None:
    """Check the syntax of an address, before anything is looked up.

    Raises:
        PageproofError: the syntax is not valid.
    """
    if parse_hex(text) is None and not _PATH.fullmatch(text):
        _parse(text)


def _parse(text: str) -> ast.Expression:
    try:
        return ast.parse(text, mode="eval")
    # ValueError: the text has a NUL. RecursionError, MemoryError: it is nested too deeply.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _not_evaluated(text, error) from None


def evaluate(prog: drgn.Program, text: str, user: UserSide) -> object:
    """Evaluate an expression with the names of drgn's shell.

    ``vma`` and ``file`` are those of the user side:
    ``cast("struct my_ctx *", file.private_data).ring``. ``prog["name"]`` prefers the module of the
    file, and an ambiguous name is an error.

    Raises:
        PageproofError: the expression cannot be evaluated.
    """
    from drgn.cli import default_globals  # imports all of drgn's shell

    def find(name: str) -> drgn.Object:
        found = find_variable(prog, name, user.operations)
        return prog[name] if found is None else found

    load_all_helpers()
    names = default_globals(prog)
    names["vma"] = drgn.Object(prog, "struct vm_area_struct *", user.vma)
    names["file"] = drgn.Object(prog, "struct file *", user.file)
    names[_FIND] = find
    tree = ast.fix_missing_locations(_Names().visit(_parse(text)))
    try:
        # The user may run any code here, as in drgn's shell: it runs with the user's rights.
        return eval(compile(tree, "<expression>", "eval"), names)
    except PageproofError:
        raise
    except Exception as error:  # an expression can raise anything
        raise _not_evaluated(text, error) from None


def _not_evaluated(text: str, error: BaseException) -> PageproofError:
    return PageproofError(
        f"this can't be evaluated: {type(error).__name__}: {error}",
        repr(text),
        "give hex, a symbol, a variable and its members, or an expression of drgn's over "
        "prog, vma and file",
    )


def _address_of(found: object, text: str) -> KernelAddress | None:
    """Return the address that an object gives; None if it gives none."""
    if not isinstance(found, drgn.Object):
        is_address = isinstance(found, int) and 0 <= found < 1 << 64
        return KernelAddress(int(found)) if is_address else None  # type: ignore[call-overload]
    kind = plain_type(found.type_)
    if kind.kind is drgn.TypeKind.POINTER:
        return KernelAddress(int(found.value_()))
    if kind.kind is drgn.TypeKind.INT and kind.size == _POINTER_BYTES:
        value = int(found.value_()) & (1 << 64) - 1
        if found.address_ is None:
            return KernelAddress(value)
        what = f"{text} is an integer ({found.type_.type_name()}) at {found.address_:#x}"
        return KernelAddress(value, f"{what}, and holds {value:#x}")
    return None if found.address_ is None else KernelAddress(int(found.address_))


def _not_found(text: str) -> PageproofError:
    return PageproofError(
        "the target has no such symbol or variable",
        repr(text),
        "give hex, or debug info that has it with -s",
    )
