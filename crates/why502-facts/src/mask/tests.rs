use super::*;
use proptest::prelude::*;

fn masked(text: &str) -> String {
    String::from_utf8(mask_secrets(text.as_bytes()).into_owned()).unwrap()
}

#[test]
fn secrets_go_and_their_names_and_lengths_stay() {
    let cases = [
        (
            "proxy_set_header Authorization \"Bearer abc123\";",
            "proxy_set_header Authorization \"****** ******\";",
        ),
        (
            "proxy_set_header Authorization $http_authorization;",
            "proxy_set_header Authorization $http_authorization;",
        ),
        ("proxy_set_header Cookie session=abc;", "proxy_set_header Cookie ***********;"),
        ("proxy_pass http://user:pw@10.0.0.1:80/;", "proxy_pass http://*******@10.0.0.1:80/;"),
        ("fastcgi_param DB_PASSWORD \"hunter2\";", "fastcgi_param DB_PASSWORD \"*******\";"),
        ("set $api_token abc;", "set $api_token ***;"),
        ("GET /login?user=bob&token=abc123&x=1 HTTP/1.1", "GET /login?user=bob&token=******&x=1 HTTP/1.1"),
        ("https://bob:pw@a.example/x?session=abc&y=1", "https://******@a.example/x?session=***&y=1"),
        (
            "GET /cb?code=abc&state=d&id=7&api.key=e&x_sig=f&PHPSESSID=g&otp=123456 HTTP/1.1",
            "GET /cb?code=***&state=*&id=7&api.key=*&x_sig=*&PHPSESSID=*&otp=****** HTTP/1.1",
        ),
        ("GET /x?key=abc&amp;pin=12 HTTP/1.1", "GET /x?key=***&amp;pin=** HTTP/1.1"),
        (
            "GET /saml?SAMLResponse=abc&csrf_token=d&page=2 HTTP/1.1",
            "GET /saml?SAMLResponse=***&csrf_token=*&page=2 HTTP/1.1",
        ),
        ("GET /reset/token=abc/confirm HTTP/1.1", "GET /reset/token=*********** HTTP/1.1"),
        ("proxy_set_header X-Auth-Request \"a b\";", "proxy_set_header X-Auth-Request \"* *\";"),
        ("proxy_set_header X-Api-Key-Id abc;", "proxy_set_header X-Api-Key-Id ***;"),
        ("uwsgi_param X_SESSION_DATA 'abc';", "uwsgi_param X_SESSION_DATA '***';"),
        ("proxy_set_header X-Auth $http_x_auth;", "proxy_set_header X-Auth $http_x_auth;"),
        ("Set-Cookie: sid=abc; Path=/\r\nServer: x", "Set-Cookie: ******** ******\r\nServer: x"),
        ("mysqld\0--password\0hunter2\0", "mysqld\0--password\0*******\0"),
        ("{\"access_token\": \"abc\"}", "{\"access_token\": \"***\"}"),
        ("if ($arg_key = \"abc\") { return 403; }", "if ($arg_key = \"***\") { return 403; }"),
        ("if ($http_x_api_key != abc) { return 403; }", "if ($http_x_api_key != ***) { return 403; }"),
        ("secure_link_md5 \"$uri abc\";", "secure_link_md5 \"$uri ***\";"),
        ("secure_link_secret abc;", "secure_link_secret ***;"),
    ];
    for (text, expected) in cases {
        assert_eq!(masked(text), expected);
    }
}

#[test]
fn the_keys_of_a_map_from_a_secret_go_and_stay_apart() {
    let map =
        "map $cookie_sid $pool {\n  default a;\n  \"s3cret-one\" b; # x\n  s3cret-two c;\n  ~^adm d;\n}\n";
    let text = masked(map);
    assert!(!text.contains("s3cret") && text.len() == map.len(), "{text}");
    assert!(text.contains("default a;") && text.contains("~^adm d;") && text.contains("\" b;"), "{text}");
    let keys: Vec<&str> = text.lines().filter(|line| line.contains("**")).collect();
    assert_eq!(keys.len(), 2, "{text}");
    assert_ne!(keys[0].trim_matches([' ', '"']).get(..10), keys[1].trim().get(..10), "{text}");
    assert_eq!(masked(&text), text, "masked once, it stays");
    let plain = "map $host $pool { a.example b; }";
    assert_eq!(masked(plain), plain);
}

#[test]
fn variables_of_secrets_are_known() {
    for name in [
        "http_authorization",
        "http_cookie",
        "cookie_a",
        "arg_token",
        "http_x_api_key",
        "arg_password",
        "sent_http_set_cookie",
        "upstream_http_set_cookie",
    ] {
        assert!(is_secret_variable(name), "{name}");
    }
    for name in ["http_user_agent", "http_referer", "request", "status", "arg_page", "http_x_forwarded_for"] {
        assert!(!is_secret_variable(name), "{name}");
    }
}

#[test]
fn what_is_no_secret_stays() {
    for text in [
        "ssl_certificate_key /etc/ssl/private/site.key;",
        "ssl_password_file /etc/nginx/passwords;",
        "proxy_set_header X-Real-IP $remote_addr;",
        "proxy_cookie_path / /app/;",
        "limit_req zone=login burst=5;",
        "proxy_pass http://backend:8080/path@x;",
        "map $cookie_session $backend { default a; }",
        "hash $cookie_session consistent;",
        "proxy_ssl_session_reuse off;",
        "if ($http_cookie ~* \"x\") { return 503; }",
        "status=502 code=502 key=value",
        "app.service: main process exited, code=exited, status=1/FAILURE",
        "GET /list?country=de&page=2&passage=x&sort=state HTTP/1.1",
        "connect() failed (111: Connection refused) while connecting to upstream",
    ] {
        assert_eq!(masked(text), text);
    }
}

#[test]
fn a_request_is_masked_alike_in_both_logs() {
    let request = RequestLine {
        method: "GET".into(),
        path: "/reset/token=abc".into(),
        has_query: true,
        version: "HTTP/1.1".into(),
    };
    let mut of_log = Some(request);
    mask_request(&mut of_log);
    assert_eq!(of_log.as_ref().map(|request| &*request.path), Some("/reset/token=***"));
    let once = of_log.clone();
    mask_request(&mut of_log);
    assert_eq!(of_log, once);
}

#[test]
fn every_pattern_compiles() {
    assert!(ANY.as_ref().is_some_and(|any| any.len() == PATTERNS.len()));
    assert!(PATTERNS.iter().all(|pattern| compile(pattern).is_some()));
    assert!(MAP.is_some() && MAP_KEY.is_some() && VARIABLE.is_some());
}

proptest! {
    #[test]
    fn masking_keeps_lengths_and_is_idempotent(text in "(token=|session=|[?&]key=|proxy_set_header |X-Auth |Cookie: |password |://|[a-z0-9$;\"' @:&=*\\n]){0,40}") {
        let once = mask_secrets(text.as_bytes()).into_owned();
        prop_assert_eq!(once.len(), text.len());
        prop_assert_eq!(mask_secrets(&once).into_owned(), once);
    }

    #[test]
    fn what_may_not_hold_a_secret_matches_nothing(
        text in "(token|password|[?&;]key|sid|//|authorization|bearer|-----BEGIN|map|if|--|[a-z0-9$;'@&*\\n{}()!~<>-]){0,30}",
    ) {
        prop_assert!(!may_hold_secret(text.as_bytes()));
        prop_assert!(!ANY.as_ref().is_some_and(|any| any.is_match(text.as_bytes())), "{}", text);
        prop_assert!(!MAP.as_ref().is_some_and(|map| map.is_match(text.as_bytes())), "{}", text);
    }
}
