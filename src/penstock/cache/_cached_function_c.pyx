"""Cached function, compiled: the twin of _cached_function_py.py with a vectorcall slot.

A hit is a key and a lookup, with no tuple of arguments, frame or method in between; awaited, it is one
small object more. Everything else is left to _loading.py, as in the fallback.
"""

cimport cython
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from cpython.weakref cimport PyWeakref_NewRef

from penstock.cache._cache_c cimport Cache

from functools import update_wrapper
from types import GenericAlias, MethodType
from warnings import warn

from penstock.cache._cached_function_py import key_of_call, weak
from penstock.cache._loading import (
    KEYWORDS,
    MARKS_OF_A_FUNCTION,
    CacheInfo,
    Loading,
    Options,
    Outcome,
    nothing,
    unwrapped,
)
from penstock.cache._settings import MISSING, check_callable

__all__ = ["CachedFunction"]

cdef extern from "Python.h":
    """
    /* Slots that Cython has no words for. */
    static void ps_call_by_vector(PyTypeObject *type, Py_ssize_t offset)
    {
        type->tp_vectorcall_offset = offset;
        type->tp_call = PyVectorcall_Call;
        type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR;
        PyType_Modified(type);
    }

    static void ps_send_by_slot(PyTypeObject *type, sendfunc send)
    {
        type->tp_as_async->am_send = send;
    }

    #define ps_weakly_referable(o) (Py_TYPE(o)->tp_weaklistoffset > 0)
    #define ps_hashable(o) (Py_TYPE(o)->tp_hash != PyObject_HashNotImplemented)
    """
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT
    ctypedef PyObject *(*vectorcallfunc)(PyObject *, PyObject *const *, size_t, PyObject *)
    ctypedef PySendResult (*sendfunc)(PyObject *, PyObject *, PyObject **)
    Py_ssize_t PyVectorcall_NARGS(size_t nargsf)
    PySendResult PyIter_Send(PyObject *iterator, PyObject *value, PyObject **result)
    bint PyUnicode_CheckExact(PyObject *)
    bint PyLong_CheckExact(PyObject *)
    void ps_call_by_vector(PyTypeObject *, Py_ssize_t offset)
    void ps_send_by_slot(PyTypeObject *, sendfunc send)
    bint ps_weakly_referable(PyObject *)
    bint ps_hashable(PyObject *)

cdef object ABSENT = MISSING  # a C variable, which takes no look into the module
cdef object OUTCOME = Outcome
cdef object NAMED = KEYWORDS


cdef class CachedFunction:
    """CachedFunction(function, cache=None, *, maxsize=128, policy='lru', ttl=None, key=None, typed=False, refresh_after=None, stale_if_error=None, cache_exceptions=(), exception_ttl=None, condition=None, executor=None, clock=None)\n--\n
    A function that remembers its results; what the decorator `cached` makes.

    Of all calls with one key, from any number of threads, tasks and event loops, one computes while the
    others wait for it. Errors go to everyone who waits and are not remembered, unless `cache_exceptions`
    says so. A call that its own result depends on raises `CacheLoadDeadlock`.

    The key is the argument itself if it is a single str or int, else a tuple of the arguments, named ones
    sorted by name. In a method, a weak reference to the object stands for it, where there can be one, so
    the cache keeps no object alive. Arguments must be hashable, or `key` make them so. In a cache that
    functions share, the function is part of the key.

    Args:
        function: a function, coroutine function or method.
        cache: where results are kept, possibly by several functions; None for a new one.
        maxsize: entries that the new cache holds at most, >= 1.
        policy: which entry of the new cache goes when there is no room.
        ttl: time to live of a result, seconds or timedelta, > 0; None for what the cache says, for ever
            if it is new.
        key: called with the same arguments, returns what takes their place as the key.
        typed: whether arguments that are equal but of different type, such as 3 and 3.0, are different.
        refresh_after: age, > 0 and < ttl, at which a result is computed anew while calls still get the old
            one: in a task of the event loop for coroutine functions, else in `executor`, else by the
            first call that comes. An error is logged and the old result stays.
        stale_if_error: time, > 0, beyond ttl for which an old result stays and is returned when
            computing a new one fails.
        cache_exceptions: subclasses of Exception that are results too: remembered and raised again.
        exception_ttl: time to live of those, > 0; None for ttl.
        condition: called with a result, returns whether it is to be remembered.
        executor: computes refreshes of a function that is no coroutine function.
        clock: returns int nanoseconds that do not go back; None for the monotonic clock of the system.
            With a cache that has another one, give that one.

    Raises:
        ValueError: an argument is out of its range, or makes no sense without another.
        TypeError: an argument has the wrong type.
    """

    cdef vectorcallfunc vectorcall
    cdef Cache compiled  # the cache, if its lookup is the compiled one
    cdef readonly object _loading
    cdef object _cache, key_function
    cdef bint typed, awaited, owned, shared
    cdef dict __dict__
    cdef object __weakref__

    __class_getitem__ = classmethod(GenericAlias)

    def __cinit__(self):
        self.vectorcall = <vectorcallfunc>called

    def __init__(
        self,
        function,
        cache=None,
        *,
        maxsize=128,
        policy="lru",
        ttl=None,
        key=None,
        typed=False,
        refresh_after=None,
        stale_if_error=None,
        cache_exceptions=(),
        exception_ttl=None,
        condition=None,
        executor=None,
        clock=None,
    ):
        wrapped = unwrapped(function)
        update_wrapper(self, wrapped.function)
        if wrapped.awaited:
            for name in MARKS_OF_A_FUNCTION:
                vars(self).setdefault(name, getattr(wrapped.code, name))
        options = Options(
            cache,
            maxsize,
            policy,
            ttl,
            refresh_after,
            stale_if_error,
            cache_exceptions,
            exception_ttl,
            condition,
            executor,
            clock,
        )
        check_callable("key", key)
        self.key_function = key
        self._loading = Loading(wrapped, options)
        self._cache = self._loading.cache
        self.typed = bool(typed)
        self.awaited = wrapped.awaited
        self.owned = False  # it is no method, whose first argument is the object
        self.shared = cache is not None
        ours = isinstance(self._cache, Cache) and type(self._cache).get is Cache.get
        self.compiled = self._cache if ours else None

    def __call__(self, /, *args, **kwargs):
        return answer(self, self.key(args, kwargs), args, kwargs)

    def __set_name__(self, owner, name):
        self.owned = True

    def __get__(self, owned_by, owner):
        return self if owned_by is None else MethodType(self, owned_by)

    def __repr__(self):
        return f"<cached {self.__wrapped__!r}>"

    def __reduce__(self):
        return str(self.__qualname__)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    @property
    def cache(self):
        """The cache that holds the results."""
        return self._cache

    def cache_key(self, /, *args, **kwargs):
        """The key of a call with these arguments; of a method, the object is the first.

        Raises:
            TypeError: an object cannot be part of a key.
        """
        return self.key(args, kwargs)

    def invalidate(self, /, *args, **kwargs):
        """Removes the result of a call with these arguments; of a method, the object is the first.

        What is being computed for it meanwhile goes to those who wait for it, and is not remembered.

        Returns:
            Whether there was one.

        Raises:
            TypeError: an argument is not hashable.
        """
        return self._loading.forget(self.key(args, kwargs))

    def cache_clear(self):
        """Removes all results of this function; what the cache has counted stays.

        O(size of the cache) if it is shared.
        """
        self._loading.forget_all(self if self.shared else None)

    def cache_info(self):
        """What the cache has counted, for all functions that share it, and how full it is."""
        stats = self._cache.stats()
        return CacheInfo(stats.hits, stats.misses, stats.maxsize, stats.size)

    def cache_parameters(self):
        """The maxsize of the cache, and `typed`."""
        return {"maxsize": self._cache.maxsize, "typed": bool(self.typed)}

    cdef object key(self, tuple args, dict kwargs):
        if self.key_function is not None:
            key = self.key_function(*args, **kwargs)
        else:
            key = key_of_call(args, kwargs, owned=self.owned, typed=self.typed)
        return (self, key) if self.shared else key

    cdef inline object lookup(self, key):
        """The value of `key`, an Outcome perhaps, or ABSENT."""
        return self._cache.get(key, ABSENT) if self.compiled is None else self.compiled.found(key, ABSENT)


# ---- a call, by vector: n values, then those that `names` names ----


cdef object called(CachedFunction self, PyObject *const *values, size_t flags, PyObject *names):
    cdef Py_ssize_t n = PyVectorcall_NARGS(flags)
    cdef object key, value
    cdef bint single
    if self.key_function is not None:
        args, kwargs = positional(values, n), named(values + n, names)
        return answer(self, self.key(args, kwargs), args, kwargs)
    key = key_of_vector(self, values, n, names)
    if self.awaited:
        single = n == 1 and <PyObject *>key == values[0]
        args = None if single else positional(values, n)
        kwargs = None if names == NULL else named(values + n, names)
        return coroutine(self, key, args, kwargs)
    value = self.lookup(key)
    if value is ABSENT:
        return self._loading.missed(key, positional(values, n), named(values + n, names))
    if type(value) is OUTCOME:
        return self._loading.found(value, key, positional(values, n), named(values + n, names))
    return value


cdef object answer(CachedFunction self, key, tuple args, dict kwargs):
    """The same, of a call whose key is known."""
    if self.awaited:
        return coroutine(self, key, args, kwargs)
    value = self.lookup(key)
    if value is ABSENT:
        return self._loading.missed(key, args, kwargs)
    return self._loading.found(value, key, args, kwargs) if type(value) is OUTCOME else value


cdef inline object key_of_vector(CachedFunction self, PyObject *const *values, Py_ssize_t n, PyObject *names):
    """What key_of_call gives, and the function before it if others share the cache."""
    cdef Py_ssize_t m = 0 if names == NULL else len(<tuple>names)
    cdef Py_ssize_t at = 0, i
    cdef tuple key
    cdef list order
    cdef bint single = n == 1 and m == 0 and not self.typed
    if single and (PyUnicode_CheckExact(values[0]) or PyLong_CheckExact(values[0])):
        return (self, <object>values[0]) if self.shared else <object>values[0]
    key = PyTuple_New(n + (1 + 2 * m if m else 0) + (n + m if self.typed else 0))
    for i in range(n):
        at = put(key, at, owner(values[0]) if i == 0 and self.owned else <object>values[i])
    if m:
        order = [0] if m == 1 else sorted(range(m), key=(<tuple>names).__getitem__)
        at = put(key, at, NAMED)
        for i in order:
            at = put(key, at, (<tuple>names)[i])
            at = put(key, at, <object>values[n + i])
    if self.typed:
        for i in range(n):
            at = put(key, at, type(<object>values[i]))
        for i in order if m else ():
            at = put(key, at, type(<object>values[n + i]))
    return (self, key) if self.shared else key


cdef inline Py_ssize_t put(tuple key, Py_ssize_t at, part):
    """Fills one place of a new tuple; the next one."""
    Py_INCREF(part)
    PyTuple_SET_ITEM(key, at, part)
    return at + 1


cdef inline object owner(PyObject *each):
    """What `weak` gives."""
    if ps_weakly_referable(each) and ps_hashable(each):
        return PyWeakref_NewRef(<object>each, None)
    return weak(<object>each)


cdef inline tuple positional(PyObject *const *values, Py_ssize_t n):
    cdef tuple args = PyTuple_New(n)
    cdef Py_ssize_t i
    for i in range(n):
        put(args, i, <object>values[i])
    return args


cdef inline dict named(PyObject *const *values, PyObject *names):
    cdef dict kwargs = {}
    cdef Py_ssize_t i
    if names != NULL:
        for i, name in enumerate(<tuple>names):
            kwargs[name] = <object>values[i]
    return kwargs


# ---- a call that is awaited ----


@cython.freelist(16)
cdef class CachedCoroutine:
    """What a call of a cached coroutine function returns: a collections.abc.Coroutine."""

    cdef CachedFunction function
    cdef object key
    cdef tuple args  # None if they are only the key
    cdef dict kwargs  # None if there are none
    cdef object inner  # the coroutine that computes, where the cache had no answer
    cdef bint begun

    def __dealloc__(self):
        if not self.begun and self.function is not None:
            warn(f"coroutine {self.__qualname__!r} was never awaited", RuntimeWarning)

    def __await__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value, /):
        """Goes on until it has to wait; raises StopIteration with the result."""
        cdef PyObject *given = NULL
        cdef PySendResult end = sent(self, <PyObject *>value, &given)
        result = <object>given
        Py_DECREF(result)  # `given` was a reference of its own
        if end == PYGEN_RETURN:
            raise StopIteration(result)
        return result

    def throw(self, *error):
        """Raises an error where it waits."""
        return self.interrupted().throw(*error)

    def close(self):
        """Ends it where it waits."""
        if not self.begun or self.inner is not None:
            self.interrupted().close()

    cdef object interrupted(self):
        """The coroutine that an error is for."""
        if not self.begun:
            self.begun = True
            self.inner = nothing()
        if self.inner is None:
            raise RuntimeError("cannot reuse already awaited coroutine")
        return self.inner

    @property
    def __name__(self):
        return getattr(self.function, "__name__", "?")

    @property
    def __qualname__(self):
        return getattr(self.function, "__qualname__", "?")


cdef inline CachedCoroutine coroutine(CachedFunction function, key, tuple args, dict kwargs):
    cdef CachedCoroutine self = CachedCoroutine.__new__(CachedCoroutine)
    self.function, self.key, self.args, self.kwargs = function, key, args, kwargs
    return self


cdef PySendResult sent(CachedCoroutine self, PyObject *value, PyObject **result) except PYGEN_ERROR:
    """What `send` does, for the interpreter, which then needs no StopIteration."""
    if self.inner is None:
        found = begin(self)
        if self.inner is None:
            Py_INCREF(found)
            result[0] = <PyObject *>found
            return PYGEN_RETURN
    return PyIter_Send(<PyObject *>self.inner, value, result)


cdef object begin(CachedCoroutine self):
    """Looks into the cache; what has no answer there gets a coroutine."""
    if self.begun:
        raise RuntimeError("cannot reuse already awaited coroutine")
    self.begun = True
    found = self.function.lookup(self.key)
    if found is ABSENT or type(found) is OUTCOME:
        args = (self.key,) if self.args is None else self.args
        kwargs = {} if self.kwargs is None else self.kwargs
        if found is ABSENT:
            self.inner = self.function._loading.missed_async(self.key, args, kwargs)
        else:
            self.inner = self.function._loading.found_async(found, self.key, args, kwargs)
    return found


cdef Py_ssize_t offset_of_vectorcall():
    cdef CachedFunction any_one = CachedFunction.__new__(CachedFunction)
    return <char *>&any_one.vectorcall - <char *><PyObject *>any_one


ps_call_by_vector(<PyTypeObject *>CachedFunction, offset_of_vectorcall())
ps_send_by_slot(<PyTypeObject *>CachedCoroutine, <sendfunc>sent)
