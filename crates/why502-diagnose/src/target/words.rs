//! Words for times, certificates and handshakes.

use crate::causes::handshakes::alert_name;
use why502_facts::{FirstBytes, TlsAnswer, TlsCertificate};

/// A time in the unit that suits it.
pub(super) fn milliseconds(micros: u64) -> String {
    match micros {
        0..100_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        100_000..10_000_000 => format!("{} ms", micros / 1000),
        _ => format!("{} s", micros / 1_000_000),
    }
}

/// Whose a certificate is, and until when.
pub(super) fn certificate(own: &TlsCertificate) -> String {
    let whose = own.names.first().cloned().unwrap_or_else(|| own.subject.clone());
    match own.not_after {
        Some(until) => {
            let until = until.to_string();
            format!("{whose} until {}", until.split('T').next().unwrap_or(&until))
        }
        None => whose,
    }
}

/// Why a handshake came to nothing, if the peer told.
pub(super) fn handshake_failure(tls: &TlsAnswer, first_bytes: &FirstBytes) -> Option<String> {
    if let Some(alert) = tls.alert {
        return Some(format!("refused with {}", alert_name(alert)));
    }
    match first_bytes {
        FirstBytes::Nothing => None,
        FirstBytes::Banner(name) => Some(format!("{name} speaks there, not TLS")),
        FirstBytes::Http => Some("HTTP speaks there, not TLS".to_owned()),
        FirstBytes::Tls { alert: Some(alert) } => Some(format!("refused with {}", alert_name(*alert))),
        FirstBytes::Tls { alert: None } => tls.error.clone(),
        FirstBytes::FastCgi | FirstBytes::Http2 | FirstBytes::Other | FirstBytes::Uwsgi => {
            Some("no TLS speaks there".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let words = [40, 1_250, 99_999, 100_000, 7_499_000, 12_000_000].map(milliseconds);
        assert_eq!(words, ["0.0 ms", "1.2 ms", "99.9 ms", "100 ms", "7499 ms", "12 s"]);
    }
}
