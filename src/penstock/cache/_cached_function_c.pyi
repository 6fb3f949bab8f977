from collections.abc import Callable
from concurrent.futures import Executor
from datetime import timedelta
from types import GenericAlias
from typing import Any, Generic, ParamSpec, TypeVar, overload

from typing_extensions import disjoint_base

from penstock.cache._loading import CacheInfo
from penstock.cache._settings import Policy
from penstock.clock import Clock

__all__ = ["CachedFunction"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

@disjoint_base
class CachedFunction(Generic[_P, _R]):
    def __init__(
        self,
        function: Callable[_P, _R],
        cache: Any = None,
        *,
        maxsize: int = 128,
        policy: Policy = "lru",
        ttl: float | timedelta | None = None,
        key: Callable[..., Any] | None = None,
        typed: bool = False,
        refresh_after: float | timedelta | None = None,
        stale_if_error: float | timedelta | None = None,
        cache_exceptions: type[Exception] | tuple[type[Exception], ...] = (),
        exception_ttl: float | timedelta | None = None,
        condition: Callable[[_R], object] | None = None,
        executor: Executor | None = None,
        clock: Clock | None = None,
    ) -> None: ...
    def __call__(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    def __set_name__(self, owner: type, name: str) -> None: ...
    @overload
    def __get__(self, owned_by: None, owner: type | None = None, /) -> CachedFunction[_P, _R]: ...
    @overload
    def __get__(self, owned_by: object, owner: type | None = None, /) -> Callable[..., _R]: ...
    def __reduce__(self) -> str: ...
    def __copy__(self) -> CachedFunction[_P, _R]: ...
    def __deepcopy__(self, memo: object) -> CachedFunction[_P, _R]: ...
    @classmethod
    def __class_getitem__(cls, key: Any, /) -> GenericAlias: ...
    @property
    def cache(self) -> Any: ...
    def cache_key(self, /, *args: _P.args, **kwargs: _P.kwargs) -> Any: ...
    def invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def cache_clear(self) -> None: ...
    def cache_info(self) -> CacheInfo: ...
    def cache_parameters(self) -> dict[str, Any]: ...
