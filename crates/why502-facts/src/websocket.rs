//! The request that asks a server to change to WebSocket, and how its answer is known to be meant for it (RFC 6455).

use crate::{HttpAnswer, HttpRequestSpec};

/// The nonce of every request of this program: 16 bytes, `why502 websocket`, in Base64 (section 4.1).
///
/// It need not be secret: it only shows that the answer was made for a request to change the protocol.
const NONCE: &str = "d2h5NTAyIHdlYnNvY2tldA==";
/// What a server that speaks WebSocket makes of that nonce: the Base64 of the SHA-1 of it with the GUID of section 1.3.
const ACCEPT: &str = "s7XVpYe2gjza4fvP2hg2gDfBz2g=";

/// A request to change to WebSocket; `headers` are those that stand before the ones of the handshake.
pub fn websocket_request(target: &str, mut headers: Vec<(String, String)>) -> HttpRequestSpec {
    let own = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", NONCE),
    ];
    headers.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    HttpRequestSpec {
        method: "GET".to_owned(),
        target: target.to_owned(),
        version: "1.1".to_owned(),
        headers,
        idle: None,
        again: false,
        segment: None,
    }
}

/// Whether an answer to such a request changes the protocol by the rules of section 4.1; else what is wrong with it.
pub fn accepts_websocket(answer: &HttpAnswer) -> Result<(), String> {
    if answer.status != 101 {
        return Err(format!("it answers {} in place of 101", answer.status));
    }
    let value = |name| answer.header(name).unwrap_or_default();
    if !value("Upgrade").eq_ignore_ascii_case("websocket") {
        return Err("its 101 names no Upgrade to websocket".to_owned());
    }
    if !value("Connection").split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade")) {
        return Err("its 101 has no Connection: Upgrade".to_owned());
    }
    match value("Sec-WebSocket-Accept") {
        ACCEPT => Ok(()),
        "" => Err("its 101 has no Sec-WebSocket-Accept".to_owned()),
        _ => Err("its Sec-WebSocket-Accept is not the one for the key that was sent".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blob, HttpHeader};
    use base64::Engine as _;

    fn answer(status: u16, headers: &[(&str, &str)]) -> HttpAnswer {
        let header = |(name, value): &(&str, &str)| HttpHeader {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
            bytes: 0,
        };
        HttpAnswer {
            minor_version: Some(1),
            status,
            reason: String::new(),
            headers: headers.iter().map(header).collect(),
            head_bytes: 0,
            complete: true,
            faults: Vec::new(),
            body: Blob::default(),
        }
    }

    #[test]
    fn the_nonce_has_sixteen_bytes() {
        let nonce = base64::engine::general_purpose::STANDARD.decode(NONCE).unwrap();
        assert_eq!(nonce, b"why502 websocket");
    }

    #[test]
    fn an_answer_is_accepted_by_all_four_rules() {
        let good = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-accept", ACCEPT),
        ];
        assert_eq!(accepts_websocket(&answer(101, &good)), Ok(()));
        assert!(accepts_websocket(&answer(200, &good)).is_err());
        for missing in 0..good.len() {
            let mut headers = good.to_vec();
            headers.remove(missing);
            assert!(accepts_websocket(&answer(101, &headers)).is_err(), "{headers:?}");
        }
        let other = [good[0], good[1], ("Sec-WebSocket-Accept", NONCE)];
        assert!(accepts_websocket(&answer(101, &other)).unwrap_err().contains("not the one"));
    }
}
