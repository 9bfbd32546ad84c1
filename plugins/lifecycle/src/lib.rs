//! Logs every callback with all that it can see, and does what its pluginConfig asks for: edits,
//! pauses, a local reply, a callout. It exists to be compared: the same lines on two hosts mean
//! that both hosts do the same.
//!
//! `settings`, `config` and `edit` read pluginConfig, `host` calls the host without judging its
//! answers, `text` makes bytes readable, `acts` is what is done in a callback, and `root` and
//! `stream` are the two kinds of context.

#[cfg(any(target_arch = "wasm32", test))]
mod text;

#[cfg(target_arch = "wasm32")]
mod acts;
#[cfg(target_arch = "wasm32")]
mod config;
#[cfg(target_arch = "wasm32")]
mod edit;
#[cfg(target_arch = "wasm32")]
mod host;
#[cfg(target_arch = "wasm32")]
mod root;
#[cfg(target_arch = "wasm32")]
mod settings;
#[cfg(target_arch = "wasm32")]
mod stream;

#[cfg(target_arch = "wasm32")]
#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    // The level also installs the SDK's panic hook, which logs the message before the trap.
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Info);
    proxy_wasm::set_root_context(|id| Box::new(root::Root::new(id)));
}
