//! SCGI: one request as a netstring of NUL-separated names and values. The answer is that of a CGI program.

use why502_facts::CgiRequestSpec;

/// Writes a request without a body as nginx does (`ngx_http_scgi_create_request`): `CONTENT_LENGTH` comes first, as the
/// protocol demands, and the others follow.
pub fn print_scgi_request(request: &CgiRequestSpec) -> Vec<u8> {
    let mut headers = b"CONTENT_LENGTH\x000\0".to_vec();
    for (name, value) in request.params.iter().filter(|(name, _)| name != "CONTENT_LENGTH") {
        headers.extend_from_slice(name.as_bytes());
        headers.push(0);
        headers.extend_from_slice(value.as_bytes());
        headers.push(0);
    }
    let mut bytes = format!("{}:", headers.len()).into_bytes();
    bytes.append(&mut headers);
    bytes.push(b',');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_netstring_that_begins_with_its_length() {
        let params = [("SCGI", "1"), ("CONTENT_LENGTH", ""), ("REQUEST_METHOD", "HEAD")];
        let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let bytes = print_scgi_request(&CgiRequestSpec { params, left_out: Vec::new() });
        assert_eq!(bytes, b"44:CONTENT_LENGTH\x000\0SCGI\x001\0REQUEST_METHOD\0HEAD\0,");
    }
}
