//! Files of another host, any subset of them.

use crate::run::{Site, command, json, stdout};

fn arguments(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).chain(["--format", "json"]).collect()
}

#[test]
fn every_subset_of_the_files_is_judged() {
    let site = Site::new();
    let options = ["--config", "--error-log", "--access-log"];
    for subset in 1..8_usize {
        let chosen: Vec<&str> = options
            .iter()
            .enumerate()
            .filter(|(at, _)| subset >> at & 1 == 1)
            .map(|(_, option)| *option)
            .collect();
        let words = site.offline(&chosen);
        let (report, code) = json(&arguments(&words));
        let verdict = report["verdict"].as_str().unwrap();
        if chosen.contains(&"--error-log") {
            assert_eq!((verdict, code), ("broken", 1), "{chosen:?}");
            assert_eq!(report["findings"][0]["cause"], "upstream-not-listening", "{chosen:?}");
            assert_ne!(report["findings"][0]["confidence"], "confirmed", "{chosen:?}");
        } else if chosen.contains(&"--access-log") {
            assert_eq!((verdict, code), ("inconclusive", 3), "{chosen:?}");
        } else {
            assert_eq!((verdict, code), ("healthy", 0), "{chosen:?}");
        }
        assert!(report["gateway"]["pid"].is_null(), "{chosen:?}");
        assert_eq!(report["actions"].as_array().map(Vec::len), Some(0), "{chosen:?}");
    }
}

#[test]
fn a_configuration_that_does_not_parse_is_shown_where_it_does_not() {
    let site = Site::new();
    site.write("nginx.conf", "events {}\nhttp {\n    server {\n        listen 80\n    }\n}\n");
    let output = command().args(site.offline(&["--config"])).output().unwrap();
    let text = stdout(&output);
    assert!(text.contains("nginx.conf:4:18"), "{text}");
    assert!(text.contains("config-invalid"), "{text}");
}

#[test]
fn a_missing_access_log_is_a_gap_and_no_failure() {
    let site = Site::new();
    let words = site.offline(&["--config", "--error-log"]);
    let (report, _) = json(&arguments(&words));
    assert!(report["window"]["requests"].is_null(), "{report}");
    assert_eq!(report["findings"][0]["explains"]["requests"], 1);
}

#[test]
fn a_secret_of_the_url_is_not_repeated() {
    let site = Site::new();
    let url = "http://bob:hunter2@shop.example.com/cart?session=hunter3&token=hunter4";
    let bundle = site.path("bundle");
    let output =
        command().arg("collect").arg("-o").arg(&bundle).args(site.whole()).arg(url).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let manifest = std::fs::read_to_string(bundle.join("manifest.json")).unwrap();
    assert!(manifest.contains("shop.example.com/cart") && !manifest.contains("hunter"), "{manifest}");
    for format in ["text", "json"] {
        let output =
            command().args(site.whole()).args(["--verbose", "--format", format, url]).output().unwrap();
        assert!(!stdout(&output).contains("hunter"), "{}", stdout(&output));
    }
}

#[test]
fn a_url_narrows_the_report_to_its_request() {
    let site = Site::new();
    let words = site.whole();
    for (url, verdict, failed) in [
        ("http://shop.example.com/fine", "healthy", 0),
        ("http://shop.example.com/cart", "broken", 1),
        ("/cart", "broken", 1),
    ] {
        let (report, _) = json(&[&arguments(&words)[..], &[url]].concat());
        let told = (report["verdict"].as_str(), report["window"]["failed"].as_u64());
        assert_eq!(told, (Some(verdict), Some(failed)), "{url}: {report}");
        let notes = report["notes"].to_string();
        assert_eq!(notes.contains("1 request failed that is another"), failed == 0, "{notes}");
    }
}

#[test]
fn a_secret_of_a_query_is_not_repeated() {
    let site = Site::new();
    let line = crate::run::refused("2026/11/21 10:00:01", "/cb?code=hunter2&key=hunter3&otp=hunter4");
    site.write("error.log", &line);
    let words = site.offline(&["--config", "--error-log"]);
    for format in ["text", "json"] {
        let output = command().args(&words).args(["--verbose", "--format", format]).output().unwrap();
        let text = stdout(&output);
        assert!(text.contains("/cb?code=*******") && !text.contains("hunter"), "{text}");
    }
}

#[test]
fn a_secret_of_a_path_is_not_kept() {
    let site = Site::new();
    site.write("error.log", &crate::run::refused("2026/11/21 10:00:01", "/reset/token=hunter2"));
    site.write("access.log", &crate::run::answered_502("21/Nov/2026:10:00:01 +0000", "/reset/token=hunter2"));
    let bundle = site.path("bundle");
    assert!(command().arg("collect").arg("-o").arg(&bundle).args(site.whole()).status().unwrap().success());
    let facts = std::fs::read_to_string(bundle.join("facts.jsonl")).unwrap();
    assert!(facts.contains("/reset/token=*******") && !facts.contains("hunter2"), "{facts}");
    // Both lines are still known to be about one request.
    let words = site.whole();
    let (report, _) = json(&arguments(&words));
    assert_eq!(report["findings"][0]["explains"]["requests"], 1);
    assert_eq!(report["unexplained"]["requests"], 0);
}

#[test]
fn a_log_of_which_no_line_can_be_read_makes_nobody_healthy() {
    let site = Site::new();
    site.write("error.log", &"no line of any log \u{1} at all\n".repeat(200));
    let words = site.offline(&["--error-log"]);
    let (report, code) = json(&arguments(&words));
    assert_eq!((report["verdict"].as_str(), code), (Some("inconclusive"), 3), "{report}");
    assert_eq!(report["gaps"][0]["topic"], "error-log");
}

#[test]
fn the_logs_of_a_prefix_that_is_given_are_read() {
    let site = Site::new();
    let config = std::fs::read_to_string(site.path("nginx.conf")).unwrap();
    site.write("nginx.conf", &config.replace("http {", "error_log error.log; http { access_log access.log;"));
    let mut words = site.offline(&["--config"]);
    let (alone, _) = json(&arguments(&words));
    assert_eq!(alone["verdict"], "healthy", "nothing but the configuration was given");
    words.extend(["--prefix".to_owned(), site.argument("")]);
    let (report, code) = json(&arguments(&words));
    assert_eq!((report["verdict"].as_str(), code), (Some("broken"), 1), "{report}");
    assert_eq!(report["window"]["requests"], 1);
}
