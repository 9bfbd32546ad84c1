//! The plugin's own context.

use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::*;
use proxy_wasm::types::*;

use crate::config::{self, Config};
use crate::stream::Stream;
use crate::{acts, host};

pub struct Root {
    id: u32,
    config: Rc<Config>,
}

impl Root {
    pub fn new(id: u32) -> Root {
        host::log("on_context_create root");
        Root { id, config: Rc::new(Config { most_bytes: 4096, ..Config::default() }) }
    }

    fn id(&self) -> String {
        if self.config.ids { format!(" root={}", self.id) } else { String::new() }
    }
}

impl Context for Root {
    fn on_done(&mut self) -> bool {
        host::log(&format!("on_done{} root", self.id()));
        true
    }

    fn on_foreign_function(&mut self, function: u32, size: usize) {
        host::log(&format!("on_foreign_function{} function={function} size={size}", self.id()));
    }
}

impl RootContext for Root {
    fn on_vm_start(&mut self, size: usize) -> bool {
        host::log(&format!("on_vm_start size={size}"));
        if size > 0 {
            acts::show(&self.config, "vm_configuration", host::buffer(host::VM_CONFIGURATION));
        }
        true
    }

    fn on_configure(&mut self, size: usize) -> bool {
        let bytes = host::buffer(host::PLUGIN_CONFIGURATION);
        match config::read(&bytes.clone().unwrap_or_default()) {
            Ok(config) => self.config = Rc::new(config),
            Err(refusal) => {
                hostcalls::log(LogLevel::Error, &refusal).unwrap_or(());
                return false;
            }
        }
        host::log(&format!("on_configure{} size={size}", self.id()));
        if size > 0 {
            acts::show(&self.config, "plugin_configuration", bytes);
        }
        if self.config.tick > 0 {
            self.set_tick_period(Duration::from_millis(self.config.tick.into()));
        }
        true
    }

    fn on_tick(&mut self) {
        host::log(&format!("on_tick{}", self.id()));
    }

    fn on_queue_ready(&mut self, queue: u32) {
        host::log(&format!("on_queue_ready{} queue={queue}", self.id()));
    }

    fn on_log(&mut self) {
        host::log(&format!("on_log{} root", self.id()));
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream::new(id, Rc::clone(&self.config))))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        host::log(&format!("on_delete{} root", self.id()));
    }
}
