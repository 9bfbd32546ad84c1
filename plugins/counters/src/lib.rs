//! Keeps three metrics, one of each kind: requests that began, requests under way, and the
//! bytes of each response's body.

mod settings;

use std::cell::Cell;
use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::*;
use proxy_wasm::types::*;

fn log(level: LogLevel, line: &str) {
    // A line that could not be written is no reason to fail a request.
    hostcalls::log(level, line).unwrap_or(());
}

/// The numbers by which the host knows our metrics.
#[derive(Clone, Copy, Default)]
struct Metrics {
    requests: u32,
    active: u32,
    response_bytes: u32,
}

impl Metrics {
    fn define(prefix: &str) -> Result<Metrics, Status> {
        let define = |kind, name| hostcalls::define_metric(kind, &format!("{prefix}_{name}"));
        Ok(Metrics {
            requests: define(MetricType::Counter, "requests")?,
            active: define(MetricType::Gauge, "active")?,
            response_bytes: define(MetricType::Histogram, "response_bytes")?,
        })
    }

    fn change(id: u32, by: i64) {
        if let Err(status) = hostcalls::increment_metric(id, by) {
            log(LogLevel::Error, &format!("metric {id} was not changed by {by}: {status:?}"));
        }
    }

    fn show(self) {
        let (requests, active) =
            (hostcalls::get_metric(self.requests), hostcalls::get_metric(self.active));
        if let (Ok(requests), Ok(active)) = (requests, active) {
            log(LogLevel::Info, &format!("requests={requests} active={active}"));
        }
    }
}

#[derive(Default)]
struct Root {
    metrics: Rc<Cell<Metrics>>,
}

struct Stream {
    metrics: Metrics,
    begun: bool,
    bytes: u64,
}

impl Context for Root {}
impl Context for Stream {}

impl RootContext for Root {
    fn on_configure(&mut self, _configuration_size: usize) -> bool {
        let bytes = self.get_plugin_configuration().unwrap_or_default();
        let prefix = settings::object(&bytes, &["prefix"])
            .and_then(|all| settings::text(&all, "prefix"))
            .map(|prefix| prefix.unwrap_or_else(|| "counters".to_owned()));
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        match prefix {
            Ok(prefix) if !prefix.is_empty() && prefix.bytes().all(fit) => {
                let Ok(metrics) = Metrics::define(&prefix) else {
                    log(LogLevel::Error, &format!("the host has no metrics for {prefix}"));
                    return false;
                };
                self.metrics.set(metrics);
                // A histogram takes values and gives none back.
                let refused = hostcalls::get_metric(metrics.response_bytes);
                log(LogLevel::Debug, &format!("reading the histogram: {refused:?}"));
                true
            }
            Ok(other) => {
                let line = format!("prefix must be letters, digits and underscores, not {other:?}");
                log(LogLevel::Error, &line);
                false
            }
            Err(refusal) => {
                log(LogLevel::Error, &refusal);
                false
            }
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { metrics: self.metrics.get(), begun: false, bytes: 0 }))
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        self.begun = true;
        Metrics::change(self.metrics.requests, 1);
        Metrics::change(self.metrics.active, 1);
        self.metrics.show();
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, _end_of_stream: bool) -> Action {
        self.bytes += size as u64;
        Action::Continue
    }

    fn on_log(&mut self) {
        // Envoy makes a context only to log a request that was too broken to reach a filter.
        if !self.begun {
            return;
        }
        Metrics::change(self.metrics.active, -1);
        if let Err(status) = hostcalls::record_metric(self.metrics.response_bytes, self.bytes) {
            log(LogLevel::Error, &format!("the histogram took no value: {status:?}"));
        }
        self.metrics.show();
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}
