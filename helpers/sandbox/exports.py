"""What a module exports for the host to call, and what it may call itself meanwhile."""

from __future__ import annotations

from helpers.sandbox.guest import Guest, GuestFn, Unlinkable

# While the module starts, and while it allocates, it may call these and nothing else
# (proxy-wasm-cpp-host, wasm.cc and include/proxy-wasm/wasm.h; that proc_exit is not among them
# was seen on Envoy 1.40).
START_CALLS = frozenset({
    "args_get", "args_sizes_get", "clock_res_get", "clock_time_get",
    "emscripten_notify_memory_growth", "environ_get", "environ_sizes_get", "fd_close",
    "fd_fdstat_get", "fd_fdstat_set_flags", "fd_prestat_dir_name", "fd_prestat_get", "fd_seek",
    "fd_write", "poll_oneoff", "proxy_get_current_time_nanoseconds", "proxy_get_log_level",
    "proxy_log", "random_get", "sched_yield",
})
ALLOCATION_CALLS = frozenset({
    "clock_time_get", "emscripten_notify_memory_growth", "fd_write", "poll_oneoff",
    "proxy_get_log_level", "proxy_log",
})
#: While the start section runs: Envoy 1.40 ends with a segmentation fault at any call there.
NO_CALLS: frozenset[str] = frozenset()

#: name of the callback, its parameters, its result.
CALLBACKS: dict[str, tuple[str, str]] = {
    "proxy_on_context_create": ("ii", ""), "proxy_on_vm_start": ("ii", "i"),
    "proxy_validate_configuration": ("ii", "i"), "proxy_on_configure": ("ii", "i"),
    "proxy_on_tick": ("i", ""), "proxy_on_queue_ready": ("ii", ""),
    "proxy_on_foreign_function": ("iii", ""),
    "proxy_on_request_headers": ("iii", "i"), "proxy_on_request_body": ("iii", "i"),
    "proxy_on_request_trailers": ("ii", "i"), "proxy_on_response_headers": ("iii", "i"),
    "proxy_on_response_body": ("iii", "i"), "proxy_on_response_trailers": ("ii", "i"),
    "proxy_on_http_call_response": ("iiiii", ""),
    "proxy_on_grpc_receive_initial_metadata": ("iii", ""), "proxy_on_grpc_receive": ("iii", ""),
    "proxy_on_grpc_receive_trailing_metadata": ("iii", ""), "proxy_on_grpc_close": ("iii", ""),
    "proxy_on_done": ("i", "i"), "proxy_on_log": ("i", ""), "proxy_on_delete": ("i", ""),
}
_WORDS = {"i": "i32", "I": "i64", "?": "another"}


def callbacks(guest: Guest, abi: str) -> dict[str, GuestFn]:
    """The callbacks that the module has, each with its parameters in version 0.2.1.

    Raises:
        Unlinkable: one has another signature.
    """
    found: dict[str, GuestFn] = {}
    for name, (params, results) in CALLBACKS.items():
        short = abi == "0.1.0" and params == "iii" and name.endswith("_headers")
        function = wanted(guest, name, "ii" if short else params, results)
        if function is not None:
            found[name] = _without_end(function) if short else function
    return found


def starters(guest: Guest) -> list[tuple[str, GuestFn, tuple[int, ...]]]:
    """What is called first, in order: name, function, arguments.

    Raises:
        Unlinkable: one has another signature.
    """
    initialize = wanted(guest, "_initialize", "", "")
    if initialize is None:
        start = wanted(guest, "_start", "", "")
        return [] if start is None else [("_start", start, ())]
    found: list[tuple[str, GuestFn, tuple[int, ...]]] = [("_initialize", initialize, ())]
    for name, arguments in (("main", (0, 0)), ("__main_void", ())):
        main = wanted(guest, name, "i" * len(arguments), "i")
        if main is not None:
            return [*found, (name, main, arguments)]
    return found


def wanted(guest: Guest, name: str, params: str, results: str) -> GuestFn | None:
    """The exported function `name`, or None.

    Raises:
        Unlinkable: it has another signature, for which Envoy 1.40 refuses the module.
    """
    have = guest.signature(name)
    if have is not None and have != (params, results):
        raise Unlinkable(f"Bad function signature for: {name}, want: {_shown(params, results)}, "
                         f"but the module exports: {_shown(*have)}")
    return guest.function(name, params, results)


def _shown(params: str, results: str) -> str:
    sides = [" ".join(_WORDS[one] for one in side) or "void" for side in (params, results)]
    return " -> ".join(sides)


def _without_end(function: GuestFn) -> GuestFn:
    """ABI 0.1.0 does not say whether a body follows."""
    return lambda context, count, _end: function(context, count)
