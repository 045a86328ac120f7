//! Files, the cache and the zones in shared memory: `ngx_file.c`, `ngx_http_file_cache.c`, `ngx_slab.c`.

use super::matcher::Rule;
use why502_facts::Phrase;

pub(super) const RULES: &[Rule] = &[
    Rule::new("an upstream response is buffered to a temporary file {*}", Phrase::BufferedToFile),
    Rule::new("a client request body is buffered to a temporary file {*}", Phrase::BufferedToFile),
    // The cache.
    Rule::whole("{}_buffer_size {} is not enough for cache key, {}", Phrase::CacheTrouble),
    Rule::new("cache \"{*}\" not found", Phrase::CacheZoneUnknown),
    Rule::whole("cache file \"{}\" {}", Phrase::CacheTrouble),
    Rule::whole("cache lock timeout", Phrase::CacheTrouble),
    Rule::whole("stalled cache updating, error:{}", Phrase::CacheTrouble),
    Rule::whole("ignore long locked inactive cache entry {}", Phrase::CacheTrouble),
    Rule::new("http file cache: {}", Phrase::Noise),
    // `%s` is the zone's `log_ctx`, set by its owner; the slab allocator says the same one level below.
    Rule::new("could not allocate node in limit_req zone \"{*}\"", Phrase::LimitZoneFull),
    Rule::new("could not allocate node in limit_conn_zone \"{*}\"", Phrase::LimitZoneFull),
    Rule::new("could not allocate node in cache keys zone \"{*}\"", Phrase::CacheZoneFull),
    Rule::new("could not allocate node{}, expiring least recently used session", Phrase::Noise),
    Rule::whole("could not allocate node{}", Phrase::SharedMemoryFull),
    Rule::new("could not allocate new {}", Phrase::Noise),
    Rule::new("ngx_slab_alloc() failed: no memory in limit_req zone \"{*}\"", Phrase::LimitZoneFull),
    Rule::new("ngx_slab_alloc() failed: no memory in limit_conn_zone \"{*}\"", Phrase::LimitZoneFull),
    Rule::new("ngx_slab_alloc() failed: no memory in cache keys zone \"{*}\"", Phrase::CacheZoneFull),
    Rule::new("ngx_slab_alloc() failed: no memory in SSL session {}", Phrase::Noise),
    Rule::whole("ngx_slab_alloc() failed: no memory{}", Phrase::SharedMemoryFull),
    Rule::whole("ngx_slab_free(): {}", Phrase::GatewayFault),
    // A log could not be written (`ngx_http_log_write`).
    Rule::new("{}() to \"{*}\" failed", Phrase::LogLinesDropped),
    Rule::new("{}() to \"{*}\" was incomplete: {}", Phrase::LogLinesDropped),
    // Operations on files, whichever they are: `open() "…" failed`, `pwritev() "…" failed`.
    Rule::whole("{}() \"{}\" failed", Phrase::FileOperationFailed),
    Rule::whole("{}() \"{}\" to \"{}\" failed", Phrase::FileOperationFailed),
    Rule::whole("{}() {} back to {} failed {}", Phrase::FileOperationFailed),
    Rule::whole("{}() read only {} of {} from \"{}\"", Phrase::FileOperationFailed),
    Rule::whole("{}() \"{}\" has written only {} of {}", Phrase::FileOperationFailed),
    Rule::whole("sendfile() reported that \"{}\" was truncated at {}", Phrase::FileOperationFailed),
    Rule::whole("fcntl({}) \"{}\" failed", Phrase::FileOperationFailed),
    Rule::whole("chdir(\"{}\") failed", Phrase::FileOperationFailed),
    Rule::whole("chown(\"{}\", {}) failed", Phrase::FileOperationFailed),
    Rule::whole("\"{}\" is not found", Phrase::FileOperationFailed),
    Rule::whole("could not open error log file: {}", Phrase::FileOperationFailed),
    Rule::whole("thread operation took too long", Phrase::FileOperationFailed),
    Rule::whole("aio operation took too long", Phrase::FileOperationFailed),
];
