//! The reading of a line that leaves no choice.
//!
//! Almost every line can be read from left to right: each value's end follows from the bytes alone, and no other end
//! leads anywhere. Such a line is read here, in one pass; any other one is left to the search for all readings
//! ([`Walk`](super::walk::Walk)). What is read here is exactly what that search finds: every rule below either proves
//! that the search has one way to go on, or gives the line up.

use super::compile::{Ending, Step};
use super::shape::Shape;
use super::variable::Field;
use super::walk::{Spans, json_quote, n_trailing_backslashes};
use memchr::{memchr, memchr2};

/// A longer format is searched: the search's limit on steps is then surely not reached by lines that are read here.
const MAX_STEPS: usize = 200;

/// How the end of a value is found without a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Where the literal stands first. It may stand elsewhere too, but from there the rest of the line holds too few
    /// quotes for the rest of the format: see [`is_anchored`].
    First,
    /// At the next quote that no backslash escapes.
    JsonQuote,
    /// Where the literal stands, if that is one place only.
    Only,
    /// At the next quote.
    Quote,
    /// As far as the value reaches: the literal begins with a byte that the value cannot have.
    Reach,
    /// At the first space, unless it separates elements of the list.
    Space,
}

/// A step, with the rule for its end.
#[derive(Clone, Debug)]
struct DirectStep {
    field: Option<Field>,
    shape: Shape,
    end: End,
    literal: Box<[u8]>,
    /// The literal's first eight bytes as a number, and which of them it has: one comparison instead of a call.
    head: (u64, u64),
    /// Whether its value has one element per attempt.
    is_list: bool,
    /// Whether a quote inside would count for an anchor before it.
    is_counted: bool,
}

/// A format that can be read from left to right.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    steps: Vec<DirectStep>,
}

impl Direct {
    /// The rules for a format; `None` if it is too long.
    pub(super) fn compile(steps: &[Step]) -> Option<Self> {
        if steps.len() > MAX_STEPS {
            return None;
        }
        let anchors: Vec<bool> = (0..steps.len()).map(|idx| is_anchored(&steps[idx..])).collect();
        let rule = |(idx, step): (usize, &Step)| {
            let literal = step.literal.needle();
            let end = match step.ending {
                Ending::Quote => End::Quote,
                Ending::JsonQuote => End::JsonQuote,
                Ending::Own => End::Reach,
                Ending::Literal if literal.first().is_some_and(|byte| !step.shape.may_hold(*byte)) => {
                    End::Reach
                }
                Ending::Literal if step.shape.is_list() && literal.starts_with(b" ") => End::Space,
                Ending::Literal if anchors[idx] => End::First,
                Ending::Literal => End::Only,
            };
            DirectStep {
                field: step.field,
                shape: step.shape,
                end,
                literal: literal.into(),
                head: head(literal),
                is_list: step.field.is_some_and(|field| Field::TRIES.contains(&field)),
                is_counted: idx > 0 && anchors[idx - 1],
            }
        };
        Some(Self { steps: steps.iter().enumerate().map(rule).collect() })
    }

    /// Reads a line into `spans`, all of whose fields are then its own; `None` says nothing about it.
    pub(super) fn read(&self, lead: &[u8], steps: &[Step], line: &[u8], spans: &mut Spans) -> Option<()> {
        let mut rest = line.strip_prefix(lead)?;
        let (last, before) = self.steps.split_last()?;
        for (step, source) in before.iter().zip(steps) {
            let value = step.value(source, rest)?;
            let after = step.after(&rest[value.len()..])?;
            step.store(value, line.len() - rest.len(), spans)?;
            rest = after;
        }
        let value = last.last_value(rest)?;
        last.store(value, line.len() - rest.len(), spans)
    }
}

impl DirectStep {
    fn value<'l>(&self, source: &Step, rest: &'l [u8]) -> Option<&'l [u8]> {
        let value = match self.end {
            End::Quote => &rest[..memchr(b'"', rest)?],
            End::JsonQuote => &rest[..json_quote(rest)?],
            End::Reach => {
                let value = &rest[..self.shape.reach(rest)];
                if !self.shape.fits(value) || self.is_counted && memchr(b'"', value).is_some() {
                    return None;
                }
                value
            }
            End::Space => {
                let end = memchr2(b' ', b'"', rest)?;
                let value = &rest[..end];
                if !self.shape.fits(value) || value.ends_with(b",") || rest[end..].starts_with(b" : ") {
                    return None;
                }
                value
            }
            // A variable that is not set.
            End::First
                if rest.starts_with(b"- ")
                    && self.literal.starts_with(b" ")
                    && rest[1..].starts_with(&self.literal) =>
            {
                &rest[..1]
            }
            End::First => &rest[..source.literal.find(rest)?],
            End::Only => {
                let reach = self.shape.reach(rest);
                let horizon = &rest[..(reach + self.literal.len()).min(rest.len())];
                let end = source.literal.find(horizon)?;
                if source.literal.find(&horizon[end + 1..]).is_some() || !self.shape.fits(&rest[..end]) {
                    return None;
                }
                &rest[..end]
            }
        };
        Some(value)
    }

    /// What follows the literal.
    fn after<'l>(&self, rest: &'l [u8]) -> Option<&'l [u8]> {
        if let Some(begin) = rest.first_chunk::<8>() {
            let (bytes, mask) = self.head;
            if (u64::from_le_bytes(*begin) ^ bytes) & mask != 0 {
                return None;
            }
            if self.literal.len() <= 8 {
                return rest.get(self.literal.len()..);
            }
        }
        rest.strip_prefix(&*self.literal)
    }

    /// The value that ends the line.
    fn last_value<'l>(&self, rest: &'l [u8]) -> Option<&'l [u8]> {
        let value = rest.strip_suffix(&*self.literal)?;
        let is_whole = match self.end {
            End::Quote => memchr(b'"', value).is_none(),
            End::JsonQuote => json_quote(value).is_none() && n_trailing_backslashes(value).is_multiple_of(2),
            _ => self.shape.reach(value) == value.len() && self.shape.fits(value),
        };
        is_whole.then_some(value)
    }

    /// Keeps a value. More than one attempt may be told by lists of different lengths, and that is to be looked at.
    fn store(&self, value: &[u8], at: usize, spans: &mut Spans) -> Option<()> {
        if self.is_list && memchr(b' ', value).is_some() {
            return None;
        }
        if let Some(field) = self.field {
            spans.set(field, at, at + value.len());
        }
        Some(())
    }
}

fn head(literal: &[u8]) -> (u64, u64) {
    let (mut bytes, mut mask) = ([0; 8], [0; 8]);
    for (place, byte) in literal.iter().take(8).enumerate() {
        bytes[place] = *byte;
        mask[place] = 0xff;
    }
    (u64::from_le_bytes(bytes), u64::from_le_bytes(mask))
}

/// Whether the first of these steps, a free text, can only end where its literal stands first.
///
/// A time of fixed length follows it, a literal with a quote follows the time, and the number of quotes after the text is
/// the same in every reading. Let the line be read with the text's end where its literal stands first. Were the end a
/// later one, the rest would hold as many quotes at most; it needs all of them, so the first quote behind is the same, and
/// it stands at a fixed distance from the text's end: both ends are one. (The time that was read must have no quote.)
///
/// Nothing between may have several ends: then each of the later places costs the search a step per variable at most.
fn is_anchored(steps: &[Step]) -> bool {
    let [text, time, after @ ..] = steps else { return false };
    let has_quote = |step: &Step| memchr(b'"', step.literal.needle()).is_some();
    let counts = |step: &Step| step.ending == Ending::Quote || !step.shape.may_hold(b'"');
    let n_until_last_quote = after.iter().rposition(has_quote).map_or(0, |idx| idx + 1);
    text.shape == Shape::Text
        && text.ending == Ending::Literal
        && time.shape == Shape::TimeLocal
        && time.ending == Ending::Own
        && has_quote(time)
        && after.iter().all(|step| step.ending != Ending::JsonQuote && counts(step))
        && after[..n_until_last_quote].iter().all(|step| step.ending != Ending::Literal)
}

#[cfg(test)]
mod tests {
    use super::super::compile;
    use super::super::walk::Walk;
    use super::*;
    use proptest::prelude::*;
    use why502_facts::FormatEscape;

    const FORMATS: &[&str] = &[
        super::super::COMBINED,
        "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \
         \"$http_user_agent\" $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] \
         $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id",
        "$remote_addr - $remote_user [$time_local] \"$request\" $status rt=$request_time us=\"$upstream_status\" \
         ua=\"$upstream_addr\" \"$http_x_forwarded_for\"",
        "$remote_addr - $remote_user [$time_local] $host \"$request\" $status $upstream_addr $upstream_status",
        "$http_x_forwarded_for - $remote_user [$time_local] \"$request\" $status",
        "$remote_user [$time_local] \"$request\" $status $unknown_tail",
        "$remote_user $status [$time_local] $upstream_addr \"$request\" $upstream_status : $host",
        "$host:$server_port $upstream_addr, $upstream_status|$status $request_uri",
        "{\"t\":\"$time_iso8601\",\"s\":$status,\"r\":\"$request\",\"ua\":\"$upstream_addr\",\"us\":\"$upstream_status\"}",
        "time:$time_iso8601\tstatus:$status\treq:$request\tua:$http_user_agent\tup:$upstream_addr",
        "$msec|$remote_addr|$request_method $request_uri|$status|$upstream_addr|$upstream_status",
        "$upstream_addr$upstream_status$request_time $status",
        "$status $upstream_addr $upstream_status $upstream_response_time $unknown_tail",
    ];

    /// What strangers and odd gateways put into lines, and the delimiters of the formats.
    fn piece() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "\"",
            "\"",
            "\\\"",
            "\\",
            "\\x22",
            " ",
            " ",
            " - ",
            "-",
            " [",
            "[",
            "] \"",
            "] ",
            "\" ",
            " \"",
            "\" \"",
            "21/Nov/2026:02:28:30 +0000",
            "21/Nov/2026:02:\"8:30 +0000",
            "2026-11-21T02:28:30+00:00",
            "GET / HTTP/1.1",
            "200",
            "502",
            "0.004",
            "127.0.0.1:80",
            "a.test",
            ", ",
            " : ",
            ",",
            ":",
            "unix:/a b",
            "|",
            "\t",
            "status:",
            "{\"t\":\"",
            "\",\"s\":",
            ",\"r\":\"",
            "\",\"ua\":\"",
            "\"}",
            "us=",
            "rt=",
            "1795228110.123",
            "\u{e9}",
            "x",
        ])
    }

    /// A value of a variable: mostly an honest one.
    fn value(name: &str) -> BoxedStrategy<String> {
        let honest = match name {
            "time_local" => "21/Nov/2026:02:28:30 +0000",
            "time_iso8601" => "2026-11-21T02:28:30+00:00",
            "msec" => "1795228110.123",
            "status" | "upstream_status" => "200",
            "request_time" | "upstream_response_time" => "0.004",
            "upstream_addr" => "10.0.0.1:80",
            "request" => "GET /a?b=c HTTP/1.1",
            "body_bytes_sent" | "request_length" | "upstream_response_length" | "server_port" => "80",
            "remote_addr" => "::1",
            _ => "-",
        };
        prop_oneof![
            12 => Just(honest.to_owned()),
            1 => Just("-".to_owned()),
            1 => Just("10.0.0.1:80, 10.0.0.2:80".to_owned()),
            1 => Just("502 : 200".to_owned()),
            2 => prop::collection::vec(piece(), 0..5).prop_map(|pieces| pieces.concat()),
        ]
        .boxed()
    }

    /// A line of a format, some of whose values are hostile.
    fn line(text: &'static str) -> BoxedStrategy<String> {
        let mut parts: Vec<BoxedStrategy<String>> = Vec::new();
        for (place, part) in text.split('$').enumerate() {
            let end = if place == 0 {
                0
            } else {
                part.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                    .unwrap_or(part.len())
            };
            if place > 0 {
                parts.push(value(&part[..end]));
            }
            parts.push(Just(part[end..].to_owned()).boxed());
        }
        parts.prop_map(|parts| parts.concat()).boxed()
    }

    fn agree(text: &str, line: &[u8]) -> Result<bool, TestCaseError> {
        let mut read = false;
        for escape in [FormatEscape::Default, FormatEscape::Json, FormatEscape::None] {
            let (lead, steps) = compile::steps(text, escape).unwrap();
            let mut spans = Spans::default();
            let direct =
                Direct::compile(&steps).unwrap().read(&lead, &steps, line, &mut spans).map(|()| spans);
            let searched = Walk::run(&lead, &steps, line);
            if direct.is_some() {
                prop_assert_eq!(
                    &direct,
                    &searched,
                    "{:?} {} {}",
                    escape,
                    text,
                    String::from_utf8_lossy(line)
                );
            }
            read |= direct.is_some();
        }
        Ok(read)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_is_read_is_what_the_search_finds(
            (text, line) in prop::sample::select(FORMATS).prop_flat_map(|text| (Just(text), line(text))),
            noise in prop::option::of((prop::collection::vec(piece(), 0..3), 0usize..400)),
        ) {
            let mut line = line.into_bytes();
            if let Some((noise, at)) = noise {
                let at = at.min(line.len());
                line.splice(at..at, noise.concat().into_bytes());
            }
            agree(text, &line)?;
        }

        #[test]
        fn no_heap_of_pieces_is_read_otherwise(
            text in prop::sample::select(FORMATS), pieces in prop::collection::vec(piece(), 0..30),
        ) {
            agree(text, pieces.concat().as_bytes())?;
        }
    }

    #[test]
    fn honest_lines_of_most_formats_are_read() {
        let honest = |text: &'static str| {
            let mut runner = proptest::test_runner::TestRunner::deterministic();
            (0..40).any(|_| {
                let line = line(text).new_tree(&mut runner).unwrap().current();
                agree(text, line.as_bytes()).unwrap()
            })
        };
        let unread: Vec<_> = FORMATS.iter().filter(|text| !honest(text)).collect();
        // In these, a value may hold what ends it.
        assert_eq!(unread, [FORMATS[6], FORMATS[10]].each_ref());
    }

    #[test]
    fn a_line_full_of_places_to_go_wrong_is_within_the_searchs_limit() {
        let lines = [
            "::1 - - [21/Nov/2026:02:28:30 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"".to_owned()
                + &" [".repeat(9000)
                + "\"",
            "::1 - - [21/Nov/2026:02:28:30 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"".to_owned()
                + &" [21/Nov/2026:02:28:30 +0000] ".repeat(900)
                + "\"",
        ];
        for line in lines {
            assert!(agree(FORMATS[0], line.as_bytes()).unwrap());
        }
        let tail = "200 10.0.0.1:80 200 0.004".to_owned() + &" 1".repeat(5000);
        assert!(agree(FORMATS[12], tail.as_bytes()).unwrap());
    }
}
