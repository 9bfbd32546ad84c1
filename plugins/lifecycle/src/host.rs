//! The host's functions as the ABI has them. The SDK's wrappers panic on a status that they do
//! not expect; this plugin wants to see every status, so it calls the functions themselves.

use proxy_wasm::types::LogLevel;

use crate::text;

pub const REQUEST_HEADERS: u32 = 0;
pub const REQUEST_TRAILERS: u32 = 1;
pub const RESPONSE_HEADERS: u32 = 2;
pub const RESPONSE_TRAILERS: u32 = 3;
pub const CALL_HEADERS: u32 = 6;
pub const CALL_TRAILERS: u32 = 7;

pub const REQUEST_BODY: u32 = 0;
pub const RESPONSE_BODY: u32 = 1;
pub const CALL_BODY: u32 = 4;
pub const VM_CONFIGURATION: u32 = 6;
pub const PLUGIN_CONFIGURATION: u32 = 7;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_buffer_bytes(
        kind: u32,
        start: usize,
        most: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(
        kind: u32,
        start: usize,
        size: usize,
        data: *const u8,
        length: usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_header_map_pairs(map: u32, data: *const u8, size: usize) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        size: usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        key: *const u8,
        key_size: usize,
        value: *const u8,
        size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize) -> u32;
    fn proxy_get_property(
        path: *const u8,
        length: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_close_stream(stream: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
}

/// Writes a line at level info.
pub fn log(line: &str) {
    // A line that could not be written is no reason to fail a request.
    proxy_wasm::hostcalls::log(LogLevel::Info, line).unwrap_or(());
}

/// What a status is called, for the log.
pub fn status_name(status: u32) -> String {
    let name = match status {
        0 => "OK",
        1 => "NOT_FOUND",
        2 => "BAD_ARGUMENT",
        3 => "SERIALIZATION_FAILURE",
        4 => "PARSE_FAILURE",
        6 => "INVALID_MEMORY_ACCESS",
        7 => "EMPTY",
        8 => "CAS_MISMATCH",
        10 => "INTERNAL_FAILURE",
        12 => "UNIMPLEMENTED",
        other => return format!("status {other}"),
    };
    name.to_owned()
}

/// Takes over a block that the host had our allocator make. An empty answer is a null pointer.
fn taken(status: u32, data: *mut u8, size: usize) -> Result<Vec<u8>, u32> {
    if status != 0 {
        return Err(status);
    }
    if data.is_null() {
        return Ok(Vec::new());
    }
    // SAFETY: the host got the block from the SDK's allocator, which makes a Vec of that capacity.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

fn receive(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, u32> {
    let (mut data, mut size) = (std::ptr::null_mut(), 0);
    let status = call(&mut data, &mut size);
    taken(status, data, size)
}

pub fn buffer(kind: u32) -> Result<Vec<u8>, u32> {
    // SAFETY: both results are living locals of `receive`.
    receive(|data, size| unsafe { proxy_get_buffer_bytes(kind, 0, usize::MAX, data, size) })
}

pub fn set_buffer(kind: u32, start: u32, size: u32, value: &[u8]) -> u32 {
    let (start, size) = (start as usize, size as usize);
    // SAFETY: the host reads `value` before the call returns.
    unsafe { proxy_set_buffer_bytes(kind, start, size, value.as_ptr(), value.len()) }
}

pub fn map(kind: u32) -> Result<Vec<(Vec<u8>, Vec<u8>)>, u32> {
    // SAFETY: both results are living locals of `receive`.
    let bytes = receive(|data, size| unsafe { proxy_get_header_map_pairs(kind, data, size) })?;
    Ok(text::unpacked(&bytes))
}

pub fn set_map(kind: u32, pairs: &[(String, Vec<u8>)]) -> u32 {
    let packed = text::packed(pairs);
    // SAFETY: the host reads `packed` before the call returns.
    unsafe { proxy_set_header_map_pairs(kind, packed.as_ptr(), packed.len()) }
}

pub fn add(kind: u32, name: &str, value: &[u8]) -> u32 {
    let (key, length) = (name.as_ptr(), name.len());
    // SAFETY: the host reads both before the call returns.
    unsafe { proxy_add_header_map_value(kind, key, length, value.as_ptr(), value.len()) }
}

pub fn replace(kind: u32, name: &str, value: &[u8]) -> u32 {
    let (key, length) = (name.as_ptr(), name.len());
    // SAFETY: the host reads both before the call returns.
    unsafe { proxy_replace_header_map_value(kind, key, length, value.as_ptr(), value.len()) }
}

pub fn remove(kind: u32, name: &str) -> u32 {
    // SAFETY: the host reads the name before the call returns.
    unsafe { proxy_remove_header_map_value(kind, name.as_ptr(), name.len()) }
}

/// The property whose path is `path`, its parts joined by zero bytes.
pub fn property(path: &str) -> Result<Vec<u8>, u32> {
    // SAFETY: the host reads `path` before the call returns; the results are living locals.
    receive(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

pub fn resume(stream: u32) -> u32 {
    // SAFETY: no memory is handed over.
    unsafe { proxy_continue_stream(stream) }
}

pub fn close(stream: u32) -> u32 {
    // SAFETY: no memory is handed over.
    unsafe { proxy_close_stream(stream) }
}

pub fn reply(
    status: u32,
    details: &str,
    body: &[u8],
    headers: &[(String, Vec<u8>)],
    grpc_status: i32,
) -> u32 {
    let packed = text::packed(headers);
    // SAFETY: the host reads all four before the call returns.
    unsafe {
        proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            packed.as_ptr(),
            packed.len(),
            grpc_status,
        )
    }
}
