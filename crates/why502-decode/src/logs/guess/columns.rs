//! The layout of lines whose values have no names, told by what the values of each column have in common.
//!
//! Columns stand between tabs, between bars, or between spaces, where quotes and brackets hold a value together. A column
//! is named only if all of its values agree: what could as well be another variable stays unknown, for a wrong name would
//! be evidence of something that did not happen.

mod split;
mod traits;

use self::split::{Column, split};
use self::traits::{
    is_address, is_attempts_status, is_decimal, is_method, is_peers, is_request, is_status, is_unset, is_uri,
};
use super::names::time_variable;
use crate::logs::format::AccessFormat;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use why502_facts::{AccessLogFormat, FormatEscape};

/// How many lines are looked at: enough for values to differ.
const MAX_LINES: usize = 200;

/// The format of lines in columns; `None` if they have no time, no status, or nothing of a request.
pub(super) fn layout(lines: &[&[u8]]) -> Option<AccessLogFormat> {
    let texts = lines.iter().take(MAX_LINES).filter_map(|line| std::str::from_utf8(line).ok());
    let mut layouts: BTreeMap<String, Vec<Vec<Column<'_>>>> = BTreeMap::new();
    for columns in texts.filter_map(split) {
        layouts.entry(columns.iter().map(Column::frame).collect()).or_default().push(columns);
    }
    let rows = layouts.into_values().max_by_key(Vec::len)?;
    let names = Table { rows: &rows }.names()?;
    let mut text = String::new();
    for (place, column) in rows.first()?.iter().enumerate() {
        // A dollar cannot be written in a format.
        if column.lead.contains('$') {
            return None;
        }
        // Writing to a String cannot fail.
        let _ = match names.get(&place) {
            Some(name) => write!(text, "{}{}${{{name}}}{}", column.lead, column.open, column.close),
            None => write!(text, "{}{}${{unknown_{place}}}{}", column.lead, column.open, column.close),
        };
    }
    let format = AccessLogFormat { text, escape: FormatEscape::Default };
    AccessFormat::compile(&format).is_ok().then_some(format)
}

/// Lines of one layout.
struct Table<'t, 'l> {
    rows: &'t [Vec<Column<'l>>],
}

impl<'l> Table<'_, 'l> {
    /// The variables, by the places of their columns.
    fn names(&self) -> Option<BTreeMap<usize, &'static str>> {
        let mut names = BTreeMap::new();
        let (time, variable) = self.time()?;
        names.insert(time, variable);
        for (variable, fits) in [
            ("request", is_request as fn(&str) -> bool),
            ("request_method", is_method),
            ("request_uri", is_uri),
        ] {
            if !names.values().any(|name| *name == "request") {
                names.extend(self.first(&names, fits).map(|place| (place, variable)));
            }
        }
        if !names.values().any(|name| name.starts_with("request")) {
            return None;
        }
        let status = self.first(&names, is_status)?;
        names.insert(status, "status");
        names.extend(self.first(&names, is_address).map(|place| (place, "remote_addr")));
        self.name_attempts(&mut names);
        Some(names)
    }

    fn time(&self) -> Option<(usize, &'static str)> {
        (0..self.rows.first()?.len()).find_map(|place| {
            let variable = time_variable(self.values(place).next()?)?;
            self.values(place)
                .all(|value| time_variable(value) == Some(variable))
                .then_some((place, variable))
        })
    }

    /// The columns of attempts, each if there is one that it can be and no other; and the request's time, if there are
    /// lines without an attempt that tell it from those of attempts.
    fn name_attempts(&self, names: &mut BTreeMap<usize, &'static str>) {
        let is_of_attempts = |place: &usize| {
            self.values(*place).any(is_unset) || self.values(*place).any(|value| value.contains(", "))
        };
        let is_ever_set = |place: &usize| !self.values(*place).all(is_unset);
        let statuses = self.all(names, |value| is_unset(value) || is_attempts_status(value));
        let statuses: Vec<usize> = statuses.into_iter().filter(is_of_attempts).filter(is_ever_set).collect();
        if let [place] = statuses[..] {
            names.insert(place, "upstream_status");
        }
        let peers = self.all(names, |value| is_unset(value) || is_peers(value));
        let peers: Vec<usize> = peers.into_iter().filter(is_ever_set).collect();
        let [peers] = peers[..] else { return };
        let has_status = names.values().any(|name| *name == "upstream_status");
        if !has_status && !is_of_attempts(&peers) {
            return;
        }
        names.insert(peers, "upstream_addr");
        let without: Vec<usize> =
            (0..self.rows.len()).filter(|&row| is_unset(self.rows[row][peers].value)).collect();
        if let ([place], false) = (&self.all(names, is_decimal)[..], without.is_empty()) {
            names.insert(*place, "request_time");
        }
    }

    fn values(&self, place: usize) -> impl Iterator<Item = &'l str> {
        self.rows.iter().filter_map(move |row| row.get(place)).map(|column| column.value)
    }

    /// The first column without a name of which all values fit.
    fn first(&self, names: &BTreeMap<usize, &'static str>, fits: fn(&str) -> bool) -> Option<usize> {
        self.all(names, fits).first().copied()
    }

    fn all(&self, names: &BTreeMap<usize, &'static str>, fits: fn(&str) -> bool) -> Vec<usize> {
        let width = self.rows.first().map_or(0, Vec::len);
        (0..width).filter(|place| !names.contains_key(place) && self.values(*place).all(fits)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(lines: &[&str]) -> Option<String> {
        layout(&lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>()).map(|format| format.text)
    }

    #[test]
    fn what_may_be_something_else_stays_unknown() {
        // All requests went to an upstream: its status cannot be told from a second one of nginx, nor its time.
        assert_eq!(
            format(&["21/Nov/2026:02:28:30 +0000|::1|GET|/a|502|502|10.0.0.1:80|0.004"]).unwrap(),
            "${time_local}|${remote_addr}|${request_method}|${request_uri}|${status}|${unknown_5}|${unknown_6}|\
             ${unknown_7}"
        );
        // A client's port is no peer.
        assert_eq!(
            format(&["2026-11-21T02:28:30Z 10.0.0.7:4711 \"GET / HTTP/1.1\" 502 157"]).unwrap(),
            "${time_iso8601} ${unknown_1} \"${request}\" ${status} ${unknown_4}"
        );
    }

    #[test]
    fn other_logs_are_no_access_logs() {
        for line in [
            "2026-11-21T02:28:30Z INFO took 200 ms",
            "2026-11-21T02:28:30Z GET /a took 157 ms",
            "21/Nov/2026:02:28:30 +0000\thello\t502",
            "10.0.0.7:4711 [21/Nov/2026:02:28:30.123] http~ be/srv 0/0/1/2/3 502 157 - - ---- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"",
            "",
        ] {
            assert_eq!(format(&[line]), None, "{line}");
        }
    }
}
