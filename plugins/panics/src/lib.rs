//! Panics on a request that carries `x-panic: 1`; with the configuration
//! `{"panic_on": "every-request"}` it panics on all of them, and with the name of a callback, such
//! as `{"panic_on": "response_body"}`, whenever that callback is called.

mod place;
mod stream;

use std::rc::Rc;
use std::time::Duration;

use place::{Place, panic_at};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::*;
use proxy_wasm::types::*;
use stream::Stream;

struct Root {
    place: Rc<Place>,
}

impl Root {
    fn new() -> Root {
        // Envoy has pluginConfig ready here already; a host that has not gives nothing.
        let early = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX);
        let place = Place::read(&early.ok().flatten().unwrap_or_default()).unwrap_or_default();
        panic_at(&place, "on_context_create");
        Root { place: Rc::new(place) }
    }
}

impl Context for Root {
    fn on_done(&mut self) -> bool {
        panic_at(&self.place, "root_on_done");
        true
    }
}

impl RootContext for Root {
    fn on_vm_start(&mut self, _configuration_size: usize) -> bool {
        panic_at(&self.place, "on_vm_start");
        let bytes = self.get_vm_configuration().unwrap_or_default();
        panic_at(&Place::read(&bytes).unwrap_or_default(), "on_vm_start");
        true
    }

    fn on_configure(&mut self, _configuration_size: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        match Place::read(&bytes) {
            Ok(place) => self.place = Rc::new(place),
            Err(complaint) => {
                hostcalls::log(LogLevel::Error, &complaint).unwrap_or(());
                return false;
            }
        }
        panic_at(&self.place, "on_configure");
        match self.place.name.as_str() {
            "on_tick" => self.set_tick_period(Duration::from_millis(50)),
            "on_queue_ready" => {
                self.register_shared_queue("panics");
            }
            _ => (),
        }
        true
    }

    fn on_tick(&mut self) {
        panic_at(&self.place, "on_tick");
    }

    fn on_queue_ready(&mut self, _queue: u32) {
        panic_at(&self.place, "on_queue_ready");
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        panic_at(&self.place, "create_http_context");
        Some(Box::new(Stream::new(Rc::clone(&self.place))))
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    // The level also installs the SDK's panic hook, which logs the message before the trap.
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::new()));
}
