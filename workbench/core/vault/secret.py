"""A value that never shows itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, TypeVar

from workbench.core.errors import SecretError

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

MASK: Final = "***"

T_co = TypeVar("T_co", bound=str | bytes | Mapping[str, str], covariant=True)


class Secret(Generic[T_co]):
    """A text, bytes or a mapping that only ``reveal`` gives out.

    ``repr``, ``str``, ``format``, tracebacks with locals and pydantic's dumps show ``***``; it
    refuses to be pickled.
    """

    __slots__ = ("_reveal",)

    _reveal: Callable[[], T_co]

    def __init__(self, value: T_co) -> None:
        # A closure: whatever walks attributes and shows them meets a function, not the value.
        held = dict(value) if isinstance(value, Mapping) else value
        object.__setattr__(
            self, "_reveal", lambda: dict(held) if isinstance(held, Mapping) else held
        )

    def reveal(self) -> T_co:
        """Return the value itself: use it in the same expression, keep it in no variable."""
        return self._reveal()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a secret does not change")

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)

    def __copy__(self) -> Secret[T_co]:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret[T_co]:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise SecretError(
            "A secret was about to be pickled.",
            "Open the vault in the process that needs the secret.",
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> CoreSchema:
        """Let a pydantic model hold a secret, and dump it masked."""
        from pydantic_core import core_schema

        return core_schema.is_instance_schema(
            cls, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


AnySecret = Secret[Mapping[str, str] | bytes]
