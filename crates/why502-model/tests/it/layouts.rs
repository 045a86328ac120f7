//! How distributions, images and bundles lay nginx out: from the processes and files of a host to a route and its peers.

use crate::Gateway;
use crate::testing::{World, process};
use why502_facts::Root;
use why502_model::{LogTarget, Target};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../nginx-syntax/tests/fixtures/", $name))
    };
}

/// A host on which a master runs.
struct Layout<'a> {
    binary: &'a str,
    /// What the master was started with, behind its name.
    arguments: &'a str,
    /// The strings of the binary: version, and arguments of `configure`.
    build: [&'a str; 2],
    files: &'a [(&'a str, &'a str)],
}

impl Layout<'_> {
    fn world(&self) -> World {
        let title = format!("nginx: master process {} {}", self.binary, self.arguments);
        let mut processes =
            vec![process(700, 1, title.trim_end(), 1_000), process(701, 700, "nginx: worker process", 2_000)];
        for process in &mut processes {
            process.exe = Some(self.binary.to_owned());
        }
        let mut world = World { processes, ..World::default() };
        world.strings(self.binary, &self.build);
        for (path, text) in self.files {
            world.files.insert((*path).to_owned(), text.as_bytes().to_vec());
        }
        world
    }
}

fn files(gateway: &Gateway) -> Vec<&str> {
    gateway.sources.iter().map(|source| &*source.path).collect()
}

fn logs(gateway: &Gateway) -> Vec<&str> {
    let paths = gateway.logs.iter().filter_map(|sink| match &sink.target {
        LogTarget::File(path) => Some(path.as_str()),
        LogTarget::Elsewhere(_) => None,
    });
    paths.collect()
}

/// The location that serves a path of a host, and the peers that it is passed to.
fn route(gateway: &Gateway, host: &str, path: &str) -> (String, Vec<String>) {
    let server = gateway.find_server(host, None).unwrap();
    let route = gateway.route(gateway.find_route(server, path).unwrap());
    let peers = match route.action.pass().map(|pass| &pass.target) {
        Some(Target::Group(group)) => {
            gateway.group(*group).peers.iter().map(|peer| peer.text.clone()).collect()
        }
        Some(Target::Unresolved(target)) => target.values.clone(),
        None => Vec::new(),
    };
    (route.location.clone().unwrap_or_default(), peers)
}

fn found(location: &str, peers: &[&str]) -> (String, Vec<String>) {
    (location.to_owned(), peers.iter().map(|peer| (*peer).to_owned()).collect())
}

fn assert_sound(gateway: &Gateway) {
    assert_eq!((gateway.problems.as_slice(), gateway.unread.as_slice()), (&[][..], &[][..]));
    assert_eq!((gateway.master, gateway.workers.as_slice()), (Some(700), &[701][..]));
}

#[test]
fn debian() {
    let gateway = Layout {
        binary: "/usr/sbin/nginx",
        arguments: "-g daemon on; master_process on;",
        build: [
            "nginx version: nginx/1.22.1",
            "configure arguments: --with-cc-opt='-g -O2' --prefix=/usr/share/nginx --conf-path=/etc/nginx/nginx.conf \
             --http-log-path=/var/log/nginx/access.log --error-log-path=stderr --modules-path=/usr/lib/nginx/modules \
             --with-compat --with-http_ssl_module --with-http_v2_module --with-stream=dynamic",
        ],
        files: &[
            ("/etc/nginx/nginx.conf", fixture!("debian.conf")),
            ("/etc/nginx/mime.types", "types { text/html html; }\n"),
            ("/etc/nginx/snippets/fastcgi-php.conf", "try_files $fastcgi_script_name =404;\nfastcgi_index index.php;\n"),
            ("/etc/nginx/modules-enabled/50-mod-stream.conf", "load_module modules/ngx_stream_module.so;\n"),
            ("/etc/nginx/sites-enabled/app", "server { listen 8080; server_name app.test; location / { proxy_pass http://127.0.0.1:3000; } }\n"),
            ("/etc/nginx/sites-available/other", "server { listen 9999; }\n"),
        ],
    }
    .world()
    .gateway();
    assert_sound(&gateway);
    assert_eq!(
        (gateway.config.as_str(), gateway.prefix.as_str()),
        ("/etc/nginx/nginx.conf", "/usr/share/nginx")
    );
    assert_eq!(
        files(&gateway),
        [
            "/etc/nginx/nginx.conf",
            "/etc/nginx/modules-enabled/50-mod-stream.conf",
            "/etc/nginx/mime.types",
            "/etc/nginx/sites-enabled/app",
            "/etc/nginx/snippets/fastcgi-php.conf",
        ]
    );
    assert_eq!(logs(&gateway), ["/var/log/nginx/error.log", "/var/log/nginx/access.log"]);
    assert_eq!(route(&gateway, "app.test", "/x"), found("/", &["127.0.0.1:3000"]));
    assert_eq!(route(&gateway, "_", "/a.php"), found("~ \\.php$", &["unix:/run/php/php8.2-fpm.sock"]));
    assert_eq!(gateway.user.as_ref().map(|user| user.value.as_str()), Some("www-data"));
}

#[test]
fn rhel() {
    let gateway = Layout {
        binary: "/usr/sbin/nginx",
        arguments: "",
        build: [
            "nginx version: nginx/1.20.1",
            "configure arguments: --prefix=/usr/share/nginx --sbin-path=/usr/sbin/nginx \
             --modules-path=/usr/lib64/nginx/modules --conf-path=/etc/nginx/nginx.conf \
             --error-log-path=/var/log/nginx/error.log --http-log-path=/var/log/nginx/access.log --with-http_ssl_module \
             --with-http_v2_module --with-mail=dynamic --with-stream=dynamic",
        ],
        files: &[
            ("/etc/nginx/nginx.conf", fixture!("rhel.conf")),
            ("/etc/nginx/mime.types", "types { text/html html; }\n"),
            ("/usr/share/nginx/modules/mod-mail.conf", "load_module \"/usr/lib64/nginx/modules/ngx_mail_module.so\";\n"),
            ("/etc/nginx/conf.d/php-fpm.conf", "upstream php-fpm { server unix:/run/php-fpm/www.sock; }\n"),
        ],
    }
    .world()
    .gateway();
    assert_sound(&gateway);
    assert_eq!(
        files(&gateway),
        [
            "/etc/nginx/nginx.conf",
            "/usr/share/nginx/modules/mod-mail.conf",
            "/etc/nginx/mime.types",
            "/etc/nginx/conf.d/php-fpm.conf",
        ]
    );
    assert_eq!(gateway.version_text.as_deref(), Some("1.20.1"));
    assert_eq!(logs(&gateway), ["/var/log/nginx/error.log", "/var/log/nginx/access.log"]);
    let (location, peers) = route(&gateway, "www.example.test", "/");
    assert!(location == "/" && !peers.is_empty(), "{peers:?}");
    assert!(gateway.groups().any(|(_, group)| group.name.as_deref() == Some("php-fpm")));
}

#[test]
fn alpine() {
    let gateway = Layout {
        binary: "/usr/sbin/nginx",
        arguments: "-c /etc/nginx/nginx.conf",
        build: [
            "nginx version: nginx/1.26.2",
            "configure arguments: --prefix=/var/lib/nginx --sbin-path=/usr/sbin/nginx --modules-path=/usr/lib/nginx/modules \
             --conf-path=/etc/nginx/nginx.conf --pid-path=/run/nginx/nginx.pid --http-log-path=/var/log/nginx/access.log \
             --with-http_ssl_module --with-stream=dynamic",
        ],
        files: &[
            (
                "/etc/nginx/nginx.conf",
                "user nginx;\ninclude /etc/nginx/modules/*.conf;\ninclude /etc/nginx/conf.d/*.conf;\n\
                 events { worker_connections 1024; }\nhttp {\n\tinclude /etc/nginx/mime.types;\n\
                 \taccess_log /var/log/nginx/access.log;\n\tinclude /etc/nginx/http.d/*.conf;\n}\n",
            ),
            ("/etc/nginx/mime.types", "types { text/html html; }\n"),
            ("/etc/nginx/modules/10_http_headers_more.conf", "# load_module \"modules/x.so\";\n"),
            ("/etc/nginx/http.d/app.conf", "server { listen 81; location /app/ { uwsgi_pass unix:/run/app.sock; } }\n"),
            ("/etc/nginx/http.d/default.conf", fixture!("alpine.conf")),
        ],
    }
    .world()
    .gateway();
    assert_sound(&gateway);
    assert_eq!(
        (gateway.config.as_str(), gateway.prefix.as_str()),
        ("/etc/nginx/nginx.conf", "/var/lib/nginx")
    );
    // Nothing names an error log: the one that `configure` takes without being told.
    assert_eq!(logs(&gateway), ["/var/lib/nginx/logs/error.log", "/var/log/nginx/access.log"]);
    assert_eq!(gateway.servers.len(), 2);
    let app = gateway.find_server("x", Some("192.0.2.1:81".parse().unwrap())).unwrap();
    assert_eq!(gateway.find_route(app, "/app/x").map(|id| gateway.route(id).at.line), Some(1));
    let default = gateway.find_server("x", Some("[::1]:80".parse().unwrap()));
    assert_eq!(default.map(|at| &*gateway.servers[at].at.file), Some("/etc/nginx/http.d/default.conf"));
}

#[test]
fn the_official_image() {
    let mut world = Layout {
        binary: "/usr/sbin/nginx",
        arguments: "-g daemon off;",
        build: [
            "nginx version: nginx/1.27.4",
            "configure arguments: --prefix=/etc/nginx --sbin-path=/usr/sbin/nginx --modules-path=/usr/lib/nginx/modules \
             --conf-path=/etc/nginx/nginx.conf --error-log-path=/var/log/nginx/error.log \
             --http-log-path=/var/log/nginx/access.log --with-http_ssl_module --with-http_v2_module --with-stream",
        ],
        files: &[
            ("/etc/nginx/nginx.conf", fixture!("container.conf")),
            ("/etc/nginx/mime.types", "types { text/html html; }\n"),
            ("/etc/nginx/conf.d/default.conf", "nothing includes this;\n"),
        ],
    }
    .world();
    // The master and its worker live in a root of their own.
    for process in &mut world.processes {
        process.same_root = Some(false);
    }
    let gateway = world.gateway();
    assert_sound(&gateway);
    assert_eq!((gateway.root, gateway.prefix.as_str()), (Root::Process(700), "/etc/nginx"));
    assert_eq!(files(&gateway), ["/etc/nginx/nginx.conf", "/etc/nginx/mime.types"]);
    assert_eq!(logs(&gateway), ["/var/log/nginx/error.log", "/var/log/nginx/access.log"]);
    let (location, values) = route(&gateway, "localhost", "/api/x");
    assert_eq!(location, "/api/");
    assert!(values.iter().all(|value| value.starts_with("http")), "{values:?}");
}

#[test]
fn the_bundle_of_gitlab() {
    let gateway = Layout {
        binary: "/opt/gitlab/embedded/sbin/nginx",
        arguments: "-p /var/opt/gitlab/nginx",
        build: [
            "nginx version: nginx/1.26.3",
            "configure arguments: --prefix=/opt/gitlab/embedded --with-http_ssl_module --with-http_stub_status_module \
             --with-http_gzip_static_module --with-http_v2_module --with-http_realip_module",
        ],
        files: &[
            (
                "/var/opt/gitlab/nginx/conf/nginx.conf",
                "user gitlab-www gitlab-www;\nworker_processes 2;\nerror_log stderr;\npid nginx.pid;\ndaemon off;\n\
                 events { worker_connections 10240; }\nhttp {\n  include /opt/gitlab/embedded/conf/mime.types;\n\
                 \u{20} map $request_uri $filtered_request_uri { default $request_uri; }\n\
                 \u{20} include /var/opt/gitlab/nginx/conf/gitlab-http.conf;\n  include conf.d/*.conf;\n}\n",
            ),
            ("/var/opt/gitlab/nginx/conf/gitlab-http.conf", fixture!("gitlab.conf")),
            ("/var/opt/gitlab/nginx/conf/conf.d/extra.conf", "server { listen 8060; location /nginx_status { stub_status; } }\n"),
            ("/opt/gitlab/embedded/conf/mime.types", "types { text/html html; }\n"),
        ],
    }
    .world()
    .gateway();
    assert_sound(&gateway);
    assert_eq!(
        (gateway.config.as_str(), gateway.prefix.as_str()),
        ("/var/opt/gitlab/nginx/conf/nginx.conf", "/var/opt/gitlab/nginx")
    );
    assert_eq!(
        files(&gateway),
        [
            "/var/opt/gitlab/nginx/conf/nginx.conf",
            "/opt/gitlab/embedded/conf/mime.types",
            "/var/opt/gitlab/nginx/conf/gitlab-http.conf",
            "/var/opt/gitlab/nginx/conf/conf.d/extra.conf",
        ]
    );
    let workhorse = "unix:/var/opt/gitlab/gitlab-workhorse/sockets/socket";
    let (location, peers) = route(&gateway, "gitlab.example.test", "/group/project/blob/main/README.md");
    assert!(location.contains("/blob/") && peers == [workhorse], "{location} {peers:?}");
    // What is answered with 418 goes on to the named location.
    let server = gateway.find_server("gitlab.example.test", None).unwrap();
    let pushed = gateway.find_route(server, "/group/project.git/git-receive-pack").unwrap();
    let page = gateway.error_page(pushed, 418).map(|page| page.to.as_str());
    assert_eq!(page, Some("@gitlab-workhorse"), "{:?}", gateway.route(pushed));
}

#[test]
fn the_bundle_of_nextcloud() {
    let gateway = Layout {
        binary: "/usr/sbin/nginx",
        arguments: "-g daemon off;",
        build: [
            "nginx version: nginx/1.24.0",
            "configure arguments: --prefix=/etc/nginx --conf-path=/etc/nginx/nginx.conf \
             --error-log-path=/var/log/nginx/error.log --http-log-path=/var/log/nginx/access.log --with-http_ssl_module \
             --with-http_v2_module",
        ],
        files: &[
            ("/etc/nginx/nginx.conf", "events {}\nhttp {\n    include mime.types;\n    include conf.d/nextcloud.conf;\n}\n"),
            ("/etc/nginx/mime.types", "types { text/html html; }\n"),
            ("/etc/nginx/conf.d/nextcloud.conf", fixture!("nextcloud.conf")),
        ],
    }
    .world()
    .gateway();
    assert_sound(&gateway);
    let host = "cloud.example.test";
    assert_eq!(route(&gateway, host, "/remote.php/dav/files"), found("~ \\.php(?:$|/)", &["127.0.0.1:9000"]));
    assert_eq!(route(&gateway, host, "/.well-known/carddav").0, "= /.well-known/carddav");
    assert_eq!(
        route(&gateway, host, "/data/x").0,
        "~ ^/(?:build|tests|config|lib|3rdparty|templates|data)(?:$|/)"
    );
    // What is not there ends at PHP.
    let server = gateway.find_server(host, None).unwrap();
    let root = gateway.find_route(server, "/apps/files").unwrap();
    let reached = gateway.reachable(root);
    assert!(reached.iter().any(|id| gateway.route(*id).location.as_deref() == Some("~ \\.php(?:$|/)")));
}

#[test]
fn openresty() {
    let gateway = Layout {
        binary: "/usr/local/openresty/nginx/sbin/nginx",
        arguments: "-p /usr/local/openresty/nginx",
        build: [
            "nginx version: openresty/1.25.3.2",
            "configure arguments: --prefix=/usr/local/openresty/nginx --with-cc-opt='-O2' \
             --add-module=../ngx_devel_kit-0.3.3 --add-module=../ngx_lua-0.10.26 --add-module=../headers-more-nginx-module-0.37 \
             --with-http_ssl_module --with-stream",
        ],
        files: &[("/usr/local/openresty/nginx/conf/nginx.conf", fixture!("openresty.conf"))],
    }
    .world()
    .gateway();
    assert_sound(&gateway);
    assert_eq!((gateway.flavour.as_str(), gateway.version_text.as_deref()), ("openresty", Some("1.25.3.2")));
    assert_eq!(gateway.version.map(|version| version.to_string()).as_deref(), Some("1.25.3"));
    assert_eq!(gateway.config, "/usr/local/openresty/nginx/conf/nginx.conf");
    assert_eq!(
        logs(&gateway),
        ["/usr/local/openresty/nginx/logs/error.log", "/usr/local/openresty/nginx/logs/access.log"]
    );
    let server = gateway.find_server("x", None).unwrap();
    let location = gateway.route(gateway.find_route(server, "/").unwrap());
    assert!(location.action.pass().is_some(), "{:?}", location.action);
}
