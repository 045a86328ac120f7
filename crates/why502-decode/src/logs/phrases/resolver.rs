//! Names: `ngx_resolver.c`, and what `ngx_http_upstream_zone_module.c` says of names that it resolves again.

use super::matcher::Rule;
use why502_facts::Phrase;

pub(super) const RULES: &[Rule] = &[
    Rule::whole("{} could not be resolved ({})", Phrase::NameNotResolved),
    Rule::whole("{} could not be resolved ({}) while resolving service {}", Phrase::NameNotResolved),
    Rule::whole("DNS error ({}", Phrase::DnsTrouble),
    Rule::whole("buffer overflow", Phrase::DnsTrouble),
    Rule::whole("unexpected DNS response for {}", Phrase::DnsTrouble),
    Rule::whole("wrong ident {} in DNS response for {}", Phrase::DnsTrouble),
    Rule::whole("invalid {} DNS response {}", Phrase::DnsTrouble),
    Rule::whole("short DNS response", Phrase::DnsTrouble),
    Rule::whole("name is out of DNS response", Phrase::DnsTrouble),
    Rule::whole("{} in DNS response", Phrase::DnsTrouble),
    Rule::new("could not cancel {} resolving", Phrase::Noise),
    Rule::whole("cannot add new server to upstream \"{}\", memory exhausted", Phrase::SharedMemoryFull),
];
