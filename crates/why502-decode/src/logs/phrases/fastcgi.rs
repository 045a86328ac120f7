//! FastCGI, uwsgi, SCGI and memcached: their modules under `src/http/modules`.

use super::matcher::Rule;
use why502_facts::Phrase;

pub(super) const RULES: &[Rule] = &[
    Rule::new("FastCGI sent in stderr: \"{*}\"", Phrase::FastCgiStderr),
    // The line ends at 2048 bytes, and the closing quote with it.
    Rule::new("FastCGI sent in stderr: \"{*}", Phrase::FastCgiStderr),
    Rule::new("upstream prematurely closed FastCGI {*}", Phrase::FastCgiClosedEarly),
    // Before 0.8.
    Rule::new("upstream closed prematurely FastCGI {*}", Phrase::FastCgiClosedEarly),
    // Record 3 is END_REQUEST: FastCGI indeed, but the application ended without a byte of output.
    Rule::new("upstream sent unexpected FastCGI record: 3", Phrase::FastCgiClosedEarly),
    Rule::new("upstream sent unexpected FastCGI {*}", Phrase::FastCgiInvalid),
    Rule::new("upstream sent unsupported FastCGI {*}", Phrase::FastCgiInvalid),
    Rule::new("upstream sent invalid FastCGI {*}", Phrase::FastCgiInvalid),
    Rule::whole("invalid header after joining FastCGI records", Phrase::GatewayFault),
    Rule::whole("fastcgi request record is too big: {}", Phrase::RequestNotBuilt),
    Rule::whole("uwsgi request is too {}", Phrase::RequestNotBuilt),
    Rule::whole("{} request length mismatch", Phrase::RequestNotBuilt),
    Rule::whole("memcached sent invalid {}", Phrase::MemcachedInvalid),
    Rule::whole("the \"$memcached_key\" variable is not set", Phrase::VariableTrouble),
    Rule::new("key: \"{}\" was not found by memcached", Phrase::Noise),
];
