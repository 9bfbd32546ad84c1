//! Replaces text in bodies. A word may be cut in two by the border of a chunk, so each body is
//! held until its end has come, and only then looked through.
//!
//! `rules` knows which text becomes which and is plain Rust; `filter` talks to the host.

#[cfg(target_arch = "wasm32")]
mod filter;
#[cfg(any(target_arch = "wasm32", test))]
mod rules;
#[cfg(any(target_arch = "wasm32", test))]
mod settings;
