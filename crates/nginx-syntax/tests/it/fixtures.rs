//! Configurations as they are found on servers, written in the manner of well-known packages.

use std::fs;
use std::path::Path;

use nginx_syntax::{Directive, Parse, Terminator, Tree, apply, parse};

use crate::nginx::Nginx;
use crate::prediction::predict;

/// Returns the names and texts of all fixtures.
pub(crate) fn fixtures() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = fs::read_dir(folder).expect("the folder of the fixtures");
    let mut fixtures: Vec<_> = entries
        .map(|entry| entry.expect("a fixture"))
        .map(|entry| {
            let text = fs::read(entry.path()).expect("a fixture can be read");
            (entry.file_name().into_string().expect("ascii"), text)
        })
        .collect();
    fixtures.sort();
    fixtures
}

fn fixture(name: &str) -> Tree {
    let (_, text) = fixtures().into_iter().find(|(found, _)| found == name).expect("a fixture");
    parse(text).tree
}

fn named<'t>(tree: &'t Tree, name: &[u8]) -> Vec<Directive<'t>> {
    tree.walk().map(|(_, directive)| directive).filter(|directive| directive.is(name)).collect()
}

fn values(directive: Directive<'_>) -> Vec<String> {
    directive.arguments().map(|argument| String::from_utf8_lossy(&argument.value()).into_owned()).collect()
}

#[test]
fn fixtures_are_read_without_an_error_and_without_a_loss() {
    let fixtures = fixtures();
    assert_eq!(fixtures.len(), 9);
    for (name, text) in fixtures {
        let Parse { tree, errors } = parse(&text[..]);
        assert_eq!(errors, [], "{name}");
        let tokens: Vec<u8> = tree.tokens().flat_map(|token| tree.slice(token.range).to_vec()).collect();
        assert!(tokens == text, "{name}");
        assert!(tree.walk().all(|(_, directive)| directive.terminator() != Terminator::Missing), "{name}");
    }
}

#[test]
fn trees_have_the_expected_shape() {
    let shapes: Vec<_> = fixtures()
        .into_iter()
        .map(|(name, text)| {
            let tree = parse(text).tree;
            let deepest = tree.walk().map(|(depth, _)| depth).max().expect("a directive");
            (name, tree.walk().count(), deepest, tree.comments().count())
        })
        .collect();
    let shapes: Vec<_> =
        shapes.iter().map(|(name, n, deepest, comments)| (&name[..], *n, *deepest, *comments)).collect();
    assert_eq!(
        shapes,
        [
            ("alpine.conf", 10, 2, 5),
            ("container.conf", 28, 3, 6),
            ("crlf.conf", 6, 2, 2),
            ("debian.conf", 32, 3, 32),
            ("gitlab.conf", 44, 2, 12),
            ("nextcloud.conf", 63, 3, 6),
            ("openresty.conf", 22, 3, 2),
            ("quirks.conf", 14, 3, 2),
            ("rhel.conf", 39, 3, 10)
        ]
    );
}

#[test]
fn values_are_what_the_author_meant() {
    let gitlab = fixture("gitlab.conf");
    let locations: Vec<_> = named(&gitlab, b"location").into_iter().map(values).collect();
    assert_eq!(locations[1], ["~", r"^/(?!-/).*/blob/[^/]+/.+\.(?:md|rst){0,1}$"]);
    let types = named(&gitlab, b"gzip_types")[0];
    assert_eq!(values(types).len(), 5, "not the comment between them");
    let map = named(&gitlab, b"map")[1].block().expect("a block");
    let pattern = map.directives().last().expect("a pattern");
    assert_eq!(
        &*pattern.name().value(),
        br"~(?i)^(?<start>.*)(?<temp>[\?&]private[\-_]token)=[^&]*(?<rest>.*)$"
    );

    let rhel = fixture("rhel.conf");
    let format = values(named(&rhel, b"log_format")[0]);
    assert_eq!(format[1], r#"$remote_addr - $remote_user [$time_local] "$request" "#);
    let crlf = fixture("crlf.conf");
    assert_eq!(&*named(&crlf, b"server_name")[0].argument(0).expect("a name").value(), b"m\xfcller.test");
}

#[test]
fn quirks_are_accepted_by_nginx() {
    let (_, text) = fixtures().into_iter().find(|(name, _)| name == "quirks.conf").expect("a fixture");
    assert_eq!(Nginx::new().complaint(&text), None);
    let quirks = fixture("quirks.conf");
    let locations: Vec<_> = named(&quirks, b"location").into_iter().map(values).collect();
    assert_eq!(locations, [["/a\\ b"], ["/c d"]]);
    let log_format = named(&quirks, b"log_format")[0];
    assert_eq!(values(log_format), ["x", "escape=json", "{", r#""uri":"$uri","#, r#""it's":"""#, "}"]);
    assert_eq!((log_format.comments().count(), log_format.reported_line()), (1, 10));
}

#[test]
fn lua_code_is_opaque() {
    let tree = fixture("openresty.conf");
    let bodies: Vec<_> = tree.walk().filter_map(|(_, directive)| directive.lua_body()).collect();
    assert_eq!(bodies.len(), 6);
    assert!(bodies[0].text().ends_with(b"]]\n    "));
    assert_eq!(bodies[5].text(), b" ngx.say(\"ok\") ");
    assert_eq!(values(named(&tree, b"set_by_lua_block")[0]), ["$upper"]);
    assert_eq!(named(&tree, b"proxy_pass").len(), 1, "what follows the code is seen");
}

#[test]
fn commented_out_directives_are_found_next_to_the_live_ones() {
    let tree = fixture("nextcloud.conf");
    let live = named(&tree, b"server")[0];
    let comment = live.parent_block().comments().next().expect("a comment");
    let commented_out = parse(comment.text()).tree;
    assert_eq!(values(named(&commented_out, b"server")[0]), ["unix:/run/php/php8.2-fpm.sock"]);
    assert_eq!(tree.line_column(comment.range().start).line, tree.line_column(live.range().start).line + 1);
}

/// Every directive of the fixtures that ends in a semicolon, put where nginx tells its tokens.
#[test]
fn nginx_cuts_the_directives_of_the_fixtures_alike() {
    let nginx = Nginx::new();
    for (name, text) in fixtures() {
        let tree = parse(text).tree;
        let simple = tree
            .walk()
            .map(|(_, directive)| directive)
            .filter(|directive| directive.terminator() == Terminator::Semicolon && !directive.is(b"include"));
        let lines: Vec<u8> =
            simple.flat_map(|directive| [tree.slice(directive.range()), b"\n"].concat()).collect();
        let config = [b"http {types {\n", &lines[..], &lines, b"}}\n"].concat();
        let predicted = predict(&config).expect("no names with a meaning");
        let answer = nginx.check(&config);
        assert_eq!(String::from_utf8_lossy(&answer), String::from_utf8_lossy(&predicted), "{name}");
        assert!(answer.split(|&byte| byte == b'\n').count() > 5, "{name}");
    }
}

#[test]
fn a_remedy_changes_only_what_it_means() {
    let tree = fixture("debian.conf");
    let pass = named(&tree, b"fastcgi_pass")[0];
    let edits = [
        pass.argument(0).expect("a target").replace_value(b"unix:/run/php/php8.3-fpm.sock"),
        pass.insert_after(b"fastcgi_read_timeout 300s;").expect("a terminated directive"),
    ];
    let text = apply(tree.text(), &edits).expect("edits for this text");
    let before: Vec<_> = tree.text().split(|&byte| byte == b'\n').collect();
    let after: Vec<_> = text.split(|&byte| byte == b'\n').collect();
    let n_same = before.iter().zip(&after).take_while(|(before, after)| before == after).count();
    assert_eq!(after[n_same], b"\t\t\tfastcgi_pass unix:/run/php/php8.3-fpm.sock;");
    assert_eq!(after[n_same + 1], b"\t\t\tfastcgi_read_timeout 300s;");
    assert_eq!(after[n_same + 2..], before[n_same + 1..]);

    let tree = fixture("crlf.conf");
    let edit = named(&tree, b"proxy_pass")[0].insert_after(b"proxy_read_timeout 60s;").expect("terminated");
    assert_eq!(edit.text, b"\r\n        proxy_read_timeout 60s;");
}
