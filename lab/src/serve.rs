//! Servers that do what a scenario tells them, good or bad.
//!
//! A server is a process of its own, started under the name of the program that it plays, so that its socket has an owner
//! whose command line says what a scenario needs it to say, and so that it can be killed.

mod certificate;
mod conversation;
mod dns;
mod stream;

pub(crate) use certificate::self_signed_pem;

use crate::output::complain;
use crate::scenario::{Backend, BackendKind};
use anyhow::{Context as _, Result};
use openssl::ssl::SslAcceptor;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use stream::Connection;

/// The variable of the environment that tells a process that it is a backend, and which.
pub(crate) const BACKEND: &str = "WHY502_LAB_BACKEND";

/// The backend that this process is, if it is one.
pub fn backend_from_environment() -> Option<Backend> {
    serde_json::from_str(&std::env::var(BACKEND).ok()?).ok()
}

/// Serves until it is killed.
pub fn main(backend: &Backend) -> ExitCode {
    match serve(backend) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{}: {error:#}", backend.name));
            ExitCode::FAILURE
        }
    }
}

fn serve(backend: &Backend) -> Result<()> {
    if backend.kind == BackendKind::Dns {
        return dns::serve(backend);
    }
    let tls = backend.tls.as_ref().map(|tls| certificate::acceptor(&tls.names)).transpose()?;
    let shared = Arc::new((backend.clone(), tls));
    let mut servers = Vec::new();
    for address in &backend.listen {
        let listener = Listener::bind(address, backend).with_context(|| address.clone())?;
        let shared = Arc::clone(&shared);
        servers.push(thread::spawn(move || accept_all(&listener, &shared)));
    }
    for server in servers {
        // A server ends only if its process does.
        let _ = server.join();
    }
    Ok(())
}

fn accept_all(listener: &Listener, shared: &Arc<(Backend, Option<SslAcceptor>)>) {
    while let Ok(connection) = listener.accept() {
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let (backend, tls) = &*shared;
            let connection = match tls {
                Some(acceptor) => connection.accept_tls(acceptor),
                None => Some(connection),
            };
            if let Some(mut connection) = connection {
                // Whatever the other side does to the connection, the server lives on.
                let _ = conversation::converse(backend, &mut connection);
            }
        });
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn bind(address: &str, backend: &Backend) -> Result<Self> {
        let Some(path) = address.strip_prefix("unix:") else {
            return Ok(Self::Tcp(TcpListener::bind(address)?));
        };
        let listener = UnixListener::bind(path)?;
        let mode = backend.socket_mode.as_deref().unwrap_or("0666");
        fs::set_permissions(path, fs::Permissions::from_mode(u32::from_str_radix(mode, 8)?))?;
        if let Some(owner) = &backend.socket_owner {
            crate::run::chown(path.as_ref(), owner)?;
        }
        Ok(Self::Unix(listener))
    }

    fn accept(&self) -> Result<Connection> {
        Ok(match self {
            Self::Tcp(listener) => Connection::tcp(listener.accept()?.0)?,
            Self::Unix(listener) => Connection::unix(listener.accept()?.0)?,
        })
    }
}
