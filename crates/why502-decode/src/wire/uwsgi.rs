//! uwsgi: one request as a packet of counted names and values. The answer is HTTP/1, or that of a CGI program.

use why502_facts::CgiRequestSpec;

/// The most bytes of names and values that a packet holds: their length is a 16-bit number.
const MAX_VARS: usize = 65_535;

/// A ping: modifier 100 and no content. A server answers it itself (`uwsgi_request_ping`).
pub(super) const UWSGI_PING: [u8; 4] = [100, 0, 0, 0];

/// Writes a request without a body as nginx does (`ngx_http_uwsgi_create_request`); names and values that no packet can hold
/// are left out, from the first one on that does not fit.
pub fn print_uwsgi_request(request: &CgiRequestSpec, modifiers: [u8; 2]) -> Vec<u8> {
    let mut vars = Vec::new();
    for (name, value) in &request.params {
        let (Ok(name_length), Ok(value_length)) = (u16::try_from(name.len()), u16::try_from(value.len()))
        else {
            break;
        };
        if vars.len() + 4 + name.len() + value.len() > MAX_VARS {
            break;
        }
        vars.extend(name_length.to_le_bytes());
        vars.extend_from_slice(name.as_bytes());
        vars.extend(value_length.to_le_bytes());
        vars.extend_from_slice(value.as_bytes());
    }
    let [low, high] = u16::try_from(vars.len()).unwrap_or(u16::MAX).to_le_bytes();
    let mut bytes = vec![modifiers[0], low, high, modifiers[1]];
    bytes.append(&mut vars);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(params: &[(&str, &str)]) -> CgiRequestSpec {
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        CgiRequestSpec { params, left_out: Vec::new() }
    }

    #[test]
    fn a_request_is_a_packet_of_counted_texts() {
        let bytes = print_uwsgi_request(&request(&[("A", "bc"), ("D", "")]), [0, 7]);
        assert_eq!(bytes, b"\0\x0c\0\x07\x01\0A\x02\0bc\x01\0D\0\0");
    }

    #[test]
    fn a_packet_never_grows_beyond_its_length() {
        let bytes =
            print_uwsgi_request(&request(&[("A", &"x".repeat(65_000)), ("B", &"y".repeat(600))]), [0, 0]);
        assert_eq!(bytes.len(), 4 + 4 + 65_001);
        assert_eq!(&bytes[1..3], &65_005_u16.to_le_bytes());
    }
}
