//! Logs a line at a steady pace, from the root context: no request is needed.

mod settings;

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::*;
use proxy_wasm::types::*;

fn log(level: LogLevel, line: &str) {
    // A line that could not be written is no reason to stop.
    hostcalls::log(level, line).unwrap_or(());
}

#[derive(Default)]
struct Root {
    message: String,
    count: u32,
    done: u32,
}

struct Stream;

impl Context for Root {}
impl Context for Stream {}
impl HttpContext for Stream {}

impl Root {
    fn read(&mut self, bytes: &[u8]) -> Result<Duration, String> {
        let all = settings::object(bytes, &["period_ms", "count", "message"])?;
        self.count = settings::number(&all, "count", 0, 0..=u32::MAX)?;
        self.message = settings::text(&all, "message")?.unwrap_or_else(|| "alive".to_owned());
        let period = settings::number(&all, "period_ms", 1000, 10..=3_600_000)?;
        Ok(Duration::from_millis(period.into()))
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _configuration_size: usize) -> bool {
        match self.read(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(period) => {
                self.set_tick_period(period);
                true
            }
            Err(refusal) => {
                log(LogLevel::Error, &refusal);
                false
            }
        }
    }

    fn on_tick(&mut self) {
        self.done += 1;
        if self.count == 0 {
            return log(LogLevel::Info, &format!("{} {}", self.message, self.done));
        }
        log(LogLevel::Info, &format!("{} {} of {}", self.message, self.done, self.count));
        if self.done == self.count {
            // A period of zero stops the clock.
            self.set_tick_period(Duration::ZERO);
            log(LogLevel::Info, "no more ticks");
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream))
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}
