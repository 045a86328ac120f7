use super::*;

fn words(command: &str) -> Vec<String> {
    command.split(' ').map(str::to_owned).collect()
}

fn at(address: &str) -> PeerAddress {
    PeerAddress::Inet(address.parse().unwrap())
}

#[test]
fn a_server_listens_where_a_client_connects() {
    for (command, expected) in [
        ("node server.js --port 3000", Some(Confidence::Confirmed)),
        ("gunicorn -b 0.0.0.0:3000 app:app", Some(Confidence::Confirmed)),
        ("python3 -m uvicorn shop:app --host 127.0.0.1 --port 3000", Some(Confidence::Confirmed)),
        ("bundle exec puma -p 3000", Some(Confidence::Confirmed)),
        ("php -S 127.0.0.1:3000", Some(Confidence::Confirmed)),
        ("python3 -m http.server 3000", Some(Confidence::Confirmed)),
        ("python3 manage.py runserver 0.0.0.0:3000", Some(Confidence::Confirmed)),
        ("flask --app shop run --port 3000", Some(Confidence::Confirmed)),
        ("rails s -p 3000", Some(Confidence::Confirmed)),
        ("gunicorn -b 127.0.0.1:3000 spellcheck:app", Some(Confidence::Confirmed)),
        ("/opt/shop/shopd --listen :3000", Some(Confidence::Confirmed)),
        ("/opt/shop/shopd --port 3000", Some(Confidence::Likely)),
        ("wait-for-it.sh db:5432 -- node server.js --port 3000", Some(Confidence::Confirmed)),
        ("sh -c X wait-for db && node server.js -p 3000", Some(Confidence::Confirmed)),
        ("mysql -P 3000", None),
        ("nmap -p 3000 10.0.0.1", None),
        ("sudo psql -p 3000", None),
        ("redis-cli -p 3000", None),
        ("ssh -p 3000 host", None),
        ("python3 wait_for.py --port 3000", None),
        ("gunicorn -b 10.0.0.9:3000 app:app", None),
        ("gunicorn -b [::1]:3000 app:app", None),
        ("gunicorn -b localhost:3000 app:app", Some(Confidence::Confirmed)),
    ] {
        assert_eq!(told(&words(command), &at("127.0.0.1:3000")), expected, "{command}");
    }
}

#[test]
fn a_script_may_be_told_whom_to_ask() {
    for (command, expected) in [
        ("python3 app.py --port 3000", Some(Confidence::Likely)),
        ("python3 app.py --host 127.0.0.1 --port 3000", Some(Confidence::Likely)),
        ("python3 deploy.py gunicorn --port 3000", Some(Confidence::Likely)),
        ("python3 deploy.py --service gunicorn --port 3000", Some(Confidence::Likely)),
        ("java -jar shop.jar --port 3000", Some(Confidence::Likely)),
        ("pumactl -p 3000 restart", Some(Confidence::Likely)),
        ("python3 app.py --bind 127.0.0.1:3000", Some(Confidence::Confirmed)),
        ("python3 wait_for_port.py --host 127.0.0.1 --port 3000", None),
        ("node healthcheck.js --port 3000", None),
        ("timeout 30 python3 /srv/deploy/smoke_test.py --port 3000", None),
        ("python3 -m warmup --port 3000", None),
    ] {
        assert_eq!(told(&words(command), &at("127.0.0.1:3000")), expected, "{command}");
    }
}

#[test]
fn a_port_beside_another_host_is_another_ones() {
    for (command, expected) in [
        ("uvicorn shop:app --host 10.9.9.9 --port 3000", None),
        ("python3 app.py -H 10.9.9.9 -p 3000", None),
        ("python3 -m http.server 3000 --bind 10.9.9.9", None),
        ("waitress-serve --host=::1 --port=3000 app:app", None),
        ("uvicorn shop:app --host 0.0.0.0 --port 3000", Some(Confidence::Confirmed)),
        ("uvicorn shop:app --host :: --port 3000", Some(Confidence::Confirmed)),
        ("uvicorn shop:app --host localhost --port 3000", Some(Confidence::Confirmed)),
    ] {
        assert_eq!(told(&words(command), &at("127.0.0.1:3000")), expected, "{command}");
    }
}

#[test]
fn of_a_container_the_published_port_counts() {
    for (command, expected) in [
        ("docker run -p 127.0.0.1:18080:3000 ghost", None),
        ("docker run -p 18080:3000 ghost", None),
        ("docker run ghost --port 3000", None),
        ("docker run -p 3000 ghost", None),
        ("docker run -p 10.0.0.9:3000:80 ghost", None),
        ("docker run -p 3000:80/tcp ghost", Some(Confidence::Confirmed)),
        ("/usr/bin/podman run --publish=127.0.0.1:3000:80 ghost", Some(Confidence::Confirmed)),
        ("docker run --network host node server.js --port 3000", Some(Confidence::Confirmed)),
    ] {
        assert_eq!(told(&words(command), &at("127.0.0.1:3000")), expected, "{command}");
    }
}

#[test]
fn a_worker_has_another_role() {
    for command in [
        "python3 /srv/worker.py",
        "bundle exec sidekiq",
        "php artisan queue:work",
        "python3 -u worker.py",
        "python3 manage.py migrate",
        "python3 wait_for_port.py --port 3000",
        "sh -c X && python3 worker.py",
    ] {
        assert!(has_other_role(&words(command)), "{command}");
    }
    for command in [
        "node server.js",
        "gunicorn --workers 4 app:app",
        "gunicorn -k uvicorn.workers.UvicornWorker app:app",
        "gunicorn jobs.wsgi:app",
        "sh -c X && python3 manage.py migrate && gunicorn app:app",
    ] {
        assert!(!has_other_role(&words(command)), "{command}");
    }
}
