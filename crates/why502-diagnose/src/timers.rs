//! Well-known timers of applications, balancers and clients: what a duration that many requests share may come from. A hint,
//! never a proof.

use crate::durations::play;

/// How much sooner than its value a timer in front of the gateway may be seen, in milliseconds: it began before the request
/// came.
const EARLY: u32 = 100;
/// A coarse clock may fire so much early, in milliseconds.
const COARSE: u32 = 20;

/// Where a timer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// In the application, which ends its own work.
    Behind,
    /// In a client or a balancer, which ends the wait.
    InFront,
}

/// By side and seconds. From the documentation of each, where it is the default or the usual setting.
const KNOWN: [(Side, u32, &str); 17] = [
    (Side::Behind, 15, "rack-timeout's default"),
    (
        Side::Behind,
        30,
        "gunicorn's worker timeout, PHP's max_execution_time, HikariCP's wait for a connection",
    ),
    (Side::Behind, 50, "InnoDB's wait for a lock"),
    (Side::Behind, 60, "unicorn's worker timeout, uWSGI's http-timeout"),
    (Side::Behind, 120, "Node's socket timeout before version 13"),
    (Side::Behind, 300, "Cloud Run's request timeout"),
    (Side::InFront, 10, "OkHttp's default"),
    (Side::InFront, 15, "Envoy's default for a route, Fastly's wait for a first byte"),
    (Side::InFront, 20, "Azure Application Gateway's default"),
    (Side::InFront, 29, "AWS API Gateway's limit"),
    (Side::InFront, 30, "the default of Google's load balancers and CloudFront, Heroku's router"),
    (Side::InFront, 50, "HAProxy's usual timeout server"),
    (Side::InFront, 60, "the default of AWS load balancers, another nginx, Apache and Varnish"),
    (Side::InFront, 100, "Cloudflare's wait for an origin"),
    (Side::InFront, 240, "the idle timeout of Azure's load balancer"),
    (Side::InFront, 300, "BIG-IP's idle timeout, Apache's older default"),
    (Side::InFront, 350, "the idle timeout of AWS network load balancers"),
];

/// The timers of a side that a duration comes to.
pub(crate) fn known(side: Side, ms: u32) -> impl Iterator<Item = &'static str> {
    let early = match side {
        Side::Behind => COARSE,
        Side::InFront => EARLY,
    };
    let own =
        KNOWN.iter().filter(move |(own, seconds, _)| *own == side && is_within(ms, seconds * 1000, early));
    own.map(|(.., name)| *name)
}

/// Whether a timer of the gateway ended something that took so long.
pub(crate) fn comes_to(ms: u32, timer: u32) -> bool {
    is_within(ms, timer, COARSE)
}

fn is_within(ms: u32, timer: u32, early: u32) -> bool {
    ms.saturating_add(early) >= timer && ms <= timer.saturating_add(play(timer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_in_front_is_seen_early_and_one_behind_is_not() {
        let named = |side, ms| known(side, ms).count();
        assert_eq!([named(Side::InFront, 59_930), named(Side::Behind, 59_930)], [1, 0]);
        assert_eq!([named(Side::InFront, 30_100), named(Side::Behind, 30_100)], [1, 1]);
        assert_eq!([named(Side::InFront, 42_000), named(Side::Behind, 42_000)], [0, 0]);
        assert!(comes_to(1990, 2000) && comes_to(2060, 2000) && !comes_to(2100, 2000));
    }
}
