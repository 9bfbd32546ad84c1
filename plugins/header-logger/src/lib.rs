//! Logs the `User-Agent` of each request: the article's filter, made fit for strangers.
//!
//! Three modules: `config` reads pluginConfig, `text` makes header bytes readable, and `filter`
//! talks to the host. The first two are plain Rust, so `cargo test` runs them on any computer.

#[cfg(any(target_arch = "wasm32", test))]
mod config;
#[cfg(target_arch = "wasm32")]
mod filter;
#[cfg(any(target_arch = "wasm32", test))]
mod text;
