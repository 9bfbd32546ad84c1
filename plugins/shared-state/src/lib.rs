//! Counts requests in shared data, where all workers see the same number, and puts a message
//! for each into a shared queue, which the root context empties.

mod settings;

use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::*;
use proxy_wasm::types::*;

/// So many times another worker may be faster before we give up on a request's number.
const ATTEMPTS: u32 = 10;

fn log(level: LogLevel, line: &str) {
    // A line that could not be written is no reason to fail a request.
    hostcalls::log(level, line).unwrap_or(());
}

struct Config {
    key: String,
    queue: String,
    /// How often to write between reading and writing, as another worker would. For tests.
    collide: u32,
}

fn read(bytes: &[u8]) -> Result<Config, String> {
    let all = settings::object(bytes, &["key", "queue", "collide"])?;
    let text = |name: &str, default: &str| match settings::text(&all, name)? {
        Some(text) if text.is_empty() => Err(format!("{name} must not be empty")),
        text => Ok(text.unwrap_or_else(|| default.to_owned())),
    };
    Ok(Config {
        key: text("key", "requests")?,
        queue: text("queue", "requests")?,
        collide: settings::number(&all, "collide", 0, 0..=ATTEMPTS)?,
    })
}

#[derive(Default)]
struct Root {
    config: Option<Rc<Config>>,
    queue: u32,
}

struct Stream {
    config: Rc<Config>,
    queue: u32,
}

impl Context for Root {}
impl Context for Stream {}

impl RootContext for Root {
    fn on_configure(&mut self, _configuration_size: usize) -> bool {
        match read(&self.get_plugin_configuration().unwrap_or_default()) {
            Ok(config) => {
                // A key that is not there has no mark under which it could be written, so two
                // workers could both write a first value: it is there before any request is.
                if self.get_shared_data(&config.key).1.is_none() {
                    let _ = self.set_shared_data(&config.key, Some(b"0"), None);
                }
                // Whoever registers a queue is told when something lies in it.
                self.queue = self.register_shared_queue(&config.queue);
                self.config = Some(Rc::new(config));
                true
            }
            Err(refusal) => {
                log(LogLevel::Error, &refusal);
                false
            }
        }
    }

    fn on_queue_ready(&mut self, queue: u32) {
        // We are told once for each message, yet another root may have taken it already.
        while let Ok(Some(message)) = self.dequeue_shared_queue(queue) {
            log(LogLevel::Info, &format!("from the queue: {}", message.escape_ascii()));
        }
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        let config = Rc::clone(self.config.as_ref()?);
        Some(Box::new(Stream { config, queue: self.queue }))
    }
}

impl Stream {
    fn stored(&self) -> (u64, Option<u32>) {
        let (value, cas) = self.get_shared_data(&self.config.key);
        let number = value.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok());
        (number.unwrap_or(0), cas)
    }

    /// Adds one to the number that all share; what it is then.
    fn count(&self) -> Option<u64> {
        for attempt in 0..ATTEMPTS {
            let (number, cas) = self.stored();
            if attempt < self.config.collide {
                let other = (number + 1).to_string();
                // With no mark it is written whatever is there.
                let _ = self.set_shared_data(&self.config.key, Some(other.as_bytes()), None);
            }
            let next = number + 1;
            // The mark that came with the number: if somebody wrote meanwhile, it is out of date.
            match self.set_shared_data(&self.config.key, Some(next.to_string().as_bytes()), cas) {
                Ok(()) => return Some(next),
                Err(_) => log(LogLevel::Debug, &format!("{next} was out of date, once more")),
            }
        }
        None
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        let Some(number) = self.count() else {
            log(LogLevel::Warn, &format!("no number after {ATTEMPTS} attempts"));
            return Action::Continue;
        };
        self.set_http_request_header("x-request-number", Some(&number.to_string()));
        let mut message = format!("{number} ").into_bytes();
        message.extend(self.get_http_request_header_bytes(":path").unwrap_or_default());
        if let Err(status) = self.enqueue_shared_queue(self.queue, Some(&message)) {
            log(LogLevel::Error, &format!("the queue took nothing: {status:?}"));
        }
        Action::Continue
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn _initialize() {
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::default()));
}
