"""What Envoy offers a module and what it looks for in one, by concern.

Names from the proxy-wasm ABI 0.1.0, 0.2.0 and 0.2.1 and from Envoy's host for it.
"""

from __future__ import annotations

#: The export that marks a module with its version, and the version.
MARKERS = {
    "proxy_abi_version_0_1_0": "0.1.0",
    "proxy_abi_version_0_2_0": "0.2.0",
    "proxy_abi_version_0_2_1": "0.2.1",
}

_HOST_CALLS: dict[str, str] = {
    "logging": "proxy_log proxy_get_log_level",
    "headers": "proxy_get_header_map_size proxy_get_header_map_pairs proxy_set_header_map_pairs "
    "proxy_get_header_map_value proxy_add_header_map_value proxy_replace_header_map_value "
    "proxy_remove_header_map_value",
    "buffers": "proxy_get_buffer_bytes proxy_get_buffer_status proxy_set_buffer_bytes",
    "streams": "proxy_continue_stream proxy_close_stream proxy_send_local_response "
    "proxy_continue_request proxy_continue_response proxy_clear_route_cache",
    "http calls": "proxy_http_call",
    "grpc calls": "proxy_grpc_call proxy_grpc_stream proxy_grpc_send proxy_grpc_cancel "
    "proxy_grpc_close",
    "metrics": "proxy_define_metric proxy_increment_metric proxy_record_metric proxy_get_metric",
    "shared data": "proxy_get_shared_data proxy_set_shared_data",
    "shared queues": "proxy_register_shared_queue proxy_resolve_shared_queue "
    "proxy_enqueue_shared_queue proxy_dequeue_shared_queue",
    "properties": "proxy_get_property proxy_set_property",
    "time": "proxy_get_current_time_nanoseconds proxy_set_tick_period_milliseconds",
    "lifecycle": "proxy_set_effective_context proxy_done proxy_get_status "
    "proxy_get_configuration",
    "foreign functions": "proxy_call_foreign_function",
    "envoy": "envoy_resolve_dns",
    "emscripten": "pthread_equal emscripten_notify_memory_growth",
}

_CALLBACKS: dict[str, str] = {
    "lifecycle": "_initialize _start main __main_void proxy_on_context_create proxy_on_vm_start "
    "proxy_validate_configuration proxy_on_configure proxy_on_done proxy_on_log proxy_on_delete",
    "memory": "memory malloc free proxy_on_memory_allocate",
    "headers": "proxy_on_request_headers proxy_on_response_headers proxy_on_request_trailers "
    "proxy_on_response_trailers proxy_on_request_metadata proxy_on_response_metadata",
    "buffers": "proxy_on_request_body proxy_on_response_body",
    "streams": "proxy_on_new_connection proxy_on_downstream_data proxy_on_upstream_data "
    "proxy_on_downstream_connection_close proxy_on_upstream_connection_close",
    "http calls": "proxy_on_http_call_response",
    "grpc calls": "proxy_on_grpc_receive_initial_metadata proxy_on_grpc_receive "
    "proxy_on_grpc_receive_trailing_metadata proxy_on_grpc_close",
    "time": "proxy_on_tick",
    "shared queues": "proxy_on_queue_ready",
    "foreign functions": "proxy_on_foreign_function",
    "envoy": "envoy_on_resolve_dns envoy_on_stats_update",
}

_WASI_NAMES = """
    args_get args_sizes_get clock_res_get clock_time_get environ_get environ_sizes_get fd_advise
    fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights
    fd_filestat_get fd_filestat_set_size fd_filestat_set_times fd_pread fd_prestat_dir_name
    fd_prestat_get fd_pwrite fd_read fd_readdir fd_renumber fd_seek fd_sync fd_tell fd_write
    path_create_directory path_filestat_get path_filestat_set_times path_link path_open
    path_readlink path_remove_directory path_rename path_symlink path_unlink_file poll_oneoff
    proc_exit proc_raise random_get sched_yield sock_accept sock_recv sock_send sock_shutdown
"""
_WASI = frozenset(_WASI_NAMES.split())
WASI_MODULES = frozenset({"wasi_snapshot_preview1", "wasi_unstable"})

_ONLY_0_1_0 = frozenset(
    {"proxy_get_configuration", "proxy_continue_request", "proxy_continue_response",
     "proxy_clear_route_cache"}
)
_NOT_IN_0_1_0 = frozenset(
    {"proxy_continue_stream", "proxy_close_stream", "proxy_call_foreign_function"}
)

_IMPORT_CONCERN = {n: c for c, names in _HOST_CALLS.items() for n in names.split()}
_EXPORT_CONCERN = {n: c for c, names in _CALLBACKS.items() for n in names.split()}


def import_concern(module: str, name: str) -> str:
    """What an import is about; "unknown" for what is no part of the ABI."""
    if module in WASI_MODULES:
        return "WASI" if name in _WASI else "unknown"
    return _IMPORT_CONCERN.get(name, "unknown") if module == "env" else "unknown"


def export_concern(name: str) -> str:
    """What an export is about; "other" for what no host asks for."""
    return "abi marker" if name in MARKERS else _EXPORT_CONCERN.get(name, "other")


def provided(module: str, name: str, abi: str) -> bool:
    """Whether Envoy defines this function for a module marked with version `abi`."""
    if import_concern(module, name) == "unknown":
        return False
    if module in WASI_MODULES:
        return True
    if name == "proxy_get_log_level":
        return abi == "0.2.1"
    if name in _ONLY_0_1_0:
        return abi == "0.1.0"
    return not (name in _NOT_IN_0_1_0 and abi == "0.1.0")
