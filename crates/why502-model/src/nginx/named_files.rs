//! Files and directories beside its own files that the configuration depends on.

use super::instance::absolute;
use crate::Gateway;
use nginx_syntax::Directive;
use std::collections::BTreeSet;

/// The ends of directives that name files which the master reads with the configuration: certificates, keys and their like,
/// of clients (`ssl_…`) and of upstreams (`proxy_ssl_…`, `grpc_ssl_…`, `uwsgi_ssl_…`), relative to the configuration's
/// directory (`ngx_conf_full_name` with `conf_prefix`).
const READ_WITH_IT: [&str; 8] = [
    "auth_basic_user_file",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_client_certificate",
    "ssl_crl",
    "ssl_dhparam",
    "ssl_password_file",
    "ssl_trusted_certificate",
];
/// The beginnings of values that name something else than a file (`ngx_ssl_certificate`, `ngx_ssl_load_certificate_key`).
const ELSEWHERE: [&str; 3] = ["data:", "engine:", "store:"];

impl Gateway {
    /// The certificates, keys and lists of users that the configuration names by a fixed path, sorted.
    pub fn named_files(&self) -> Vec<String> {
        let is_read = |name: &[u8]| READ_WITH_IT.iter().any(|end| name.ends_with(end.as_bytes()));
        let named = self.first_arguments(is_read);
        let files = named.filter(|path| !ELSEWHERE.iter().any(|begin| path.starts_with(begin)));
        let files: BTreeSet<String> = files.map(|path| absolute(&path, self.directory())).collect();
        files.into_iter().collect()
    }

    /// The directories in which the configuration looks for files, by an `include` with a pattern, sorted.
    pub fn searched_directories(&self) -> Vec<String> {
        let patterns = self.first_arguments(|name| name == b"include");
        let directories = patterns.filter_map(|pattern| {
            let pattern = absolute(&pattern, self.directory());
            let (directory, name) = pattern.rsplit_once('/')?;
            (is_pattern(name) && !is_pattern(directory)).then(|| directory.to_owned())
        });
        directories.collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// The directory of the configuration file.
    fn directory(&self) -> &str {
        self.config.rsplit_once('/').map_or("", |(directory, _)| directory)
    }

    /// The first arguments of directives, if no variable stands in them.
    fn first_arguments(&self, wanted: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = String> {
        let argument = move |directive: Directive<'_>| {
            let name = directive.name().value();
            let value = directive.argument(0).filter(|_| wanted(&name))?.value();
            let value = String::from_utf8(value.into_owned()).ok()?;
            (!value.contains('$') && !value.is_empty()).then_some(value)
        };
        let directives = self.sources.iter().flat_map(|source| source.tree.walk());
        directives.filter_map(move |(_, directive)| argument(directive))
    }
}

/// Whether a path is a pattern for glob(3), as `ngx_conf_include` tells it.
fn is_pattern(path: &str) -> bool {
    path.bytes().any(|byte| matches!(byte, b'*' | b'?' | b'['))
}

#[cfg(test)]
mod tests {
    use crate::testing::World;

    #[test]
    fn certificates_keys_and_the_directories_of_includes_are_named() {
        let gateway = World::live(
            "1.22.1",
            "#- /etc/nginx/nginx.conf\nevents { }\nhttp {\n  include conf.d/*.conf;\n  include mime.types;\n  \
             include /srv/*/nginx.conf;\n}\n\
             #- /etc/nginx/conf.d/a.conf\nserver {\n  listen 443 ssl;\n  ssl_certificate tls/a.pem;\n  \
             ssl_certificate_key $ssl_server_name.key;\n  location / {\n    proxy_pass https://10.0.0.7;\n    \
             proxy_ssl_trusted_certificate /etc/ssl/ca.pem;\n    proxy_ssl_certificate_key engine:x:y;\n  }\n}\n\
             #- /etc/nginx/mime.types\n",
        )
        .gateway();
        assert_eq!(gateway.named_files(), ["/etc/nginx/tls/a.pem", "/etc/ssl/ca.pem"]);
        assert_eq!(gateway.searched_directories(), ["/etc/nginx/conf.d"]);
    }
}
