//! The decoders against what they have to understand: every template of nginx, recorded lines, a real nginx.

mod heads;
mod logs_fixtures;
mod logs_formats;
mod logs_nginx;
mod logs_parity;
mod logs_properties;
mod logs_templates;
mod logs_wrapped;
