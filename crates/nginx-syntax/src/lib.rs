//! A lossless syntax tree for nginx configuration files, tokenised exactly as nginx does.
//!
//! nginx reads its configuration with one function, `ngx_conf_read_token` in `src/core/ngx_conf_file.c`: a
//! state machine over bytes that knows nothing of what directives mean. This crate is that state machine
//! again, state by state, except that it keeps every byte it passes, goes on after an error, and builds a
//! tree instead of calling handlers:
//!
//! ```text
//! bytes ──▶ lexer ──▶ tokens ──▶ parser ──▶ Tree { text, tokens, nodes } + errors
//!             └─ lua: the body of `*_by_lua_block { … }`
//! ```
//!
//! What a reader may rely on:
//!
//! * **Parsing never fails.** Any bytes give a [`Tree`], and its tokens, put one behind the other, are the
//!   text again.
//! * **An argument is what nginx would see.** Borders and [`Argument::value`] agree with nginx's reader, odd
//!   corners included: `a\ b` is one argument, `${x}` keeps its braces, `"a")` is two arguments, `"a"b` is an
//!   error.
//! * **The first error is nginx's own**, in its words and with the line that it would print. nginx stops
//!   there; this parser goes on, and what it reports afterwards is a guess of what a human would still have
//!   to mend.
//! * **Changes are splices.** An [`Edit`] replaces a range of bytes and names what it expects to find there,
//!   so every byte that was not meant stays as it was. Re-parse after [`apply`]: configuration files are
//!   small.
//!
//! The crate knows *one* file. It does not follow `include`, knows no directive, no context and no
//! inheritance, with one exception that the lexer forces on it: the Lua code in the block of a directive
//! whose name ends in `_by_lua_block` is read by the rules of lua-nginx-module and stays one opaque token.
//! For the same reason it cannot report what only a directive's own handler refuses (`directive "listen" is
//! not terminated by ";"`, a `{` inside of `types { … }`).
//!
//! # Example
//!
//! ```
//! use nginx_syntax::{apply, parse};
//!
//! let parse = parse(*b"location /api {\n    proxy_pass http://10.0.0.7:8080;\n}\n");
//! assert!(parse.errors.is_empty());
//!
//! let location = parse.tree.root().directives().next().ok_or("no directive")?;
//! let block = location.block().ok_or("no block")?;
//! let proxy_pass = block.named(b"proxy_pass").next().ok_or("no proxy_pass")?;
//! let target = proxy_pass.argument(0).ok_or("no target")?;
//! assert_eq!(&*target.value(), b"http://10.0.0.7:8080");
//! assert_eq!(parse.tree.line_column(target.range().start).to_string(), "2:16");
//!
//! let edits = [
//!     target.replace_value(b"http://10.0.0.8:8080"),
//!     proxy_pass.insert_after(b"proxy_read_timeout 60s;").ok_or("not terminated")?,
//! ];
//! assert_eq!(
//!     apply(parse.tree.text(), &edits)?,
//!     b"location /api {\n    proxy_pass http://10.0.0.8:8080;\n    proxy_read_timeout 60s;\n}\n"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod argument;
mod block;
mod directive;
mod edit;
mod error;
mod layout;
mod lexer;
mod lua;
mod parser;
mod position;
mod quote;
mod rewrite;
mod token;
mod tree;

pub use crate::argument::{Argument, Quote};
pub use crate::block::{Block, Comment};
pub use crate::directive::{Directive, LuaBody, Terminator};
pub use crate::edit::{Edit, EditError, apply};
pub use crate::error::{SyntaxError, SyntaxErrorKind};
pub use crate::parser::{MAX_ERRORS, Parse, parse, parse_command_line};
pub use crate::position::LineColumn;
pub use crate::quote::{format_directive, quote_argument};
pub use crate::token::{Token, TokenKind};
pub use crate::tree::{DirectiveId, Tree};
