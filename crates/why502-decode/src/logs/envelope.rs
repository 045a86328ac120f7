//! What other programs wrap around a line, and how it is taken off.
//!
//! A gateway's line reaches its file through syslog, the journal or a container's runtime, and each of them writes
//! something around it. [`Envelope::guess`] tells from some lines which of them did, and an [`Unwrapper`] takes the
//! wrapping off line by line: it joins what was written in parts and undoes what was escaped. Lines that are wrapped
//! otherwise are passed on as they are, and counted.

mod compose;
mod cri;
mod docker;
mod journal;
pub(crate) mod json;
mod partial;
mod pattern;
mod stamp;
mod syslog;

use self::journal::{Export, Pretty, Verbose};
use self::partial::Partial;

/// The longest line that is put together from parts, bytes; what exceeds it is cut off.
const MAX_LINE: usize = 1 << 20;

/// The line without the carriage return of a file that was copied from another system.
pub(super) fn without_carriage_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What wrote something around the lines of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// Several containers' lines behind their names: `web-1  | …` (docker compose), `[pod/web/nginx] …` (kubectl).
    Compose,
    /// A Kubernetes container runtime: `2026-11-21T02:28:30.123456789Z stderr F …`.
    Cri,
    /// Docker's driver `json-file`: `{"log":"…\n","stream":"stderr","time":"…"}`.
    DockerJson,
    /// `journalctl -o export`: fields on lines of their own, entries between empty lines.
    JournalExport,
    /// `journalctl -o json`, also with the marks of `json-seq` and `json-sse`.
    JournalJson,
    /// `journalctl -o json-pretty`: objects over several lines.
    JournalPretty,
    /// `journalctl -o verbose`: fields below a line with the time and the cursor.
    JournalVerbose,
    /// Nothing: the gateway wrote the file.
    Plain,
    /// A stamp alone: of a runtime (`docker logs -t`, `kubectl logs --timestamps`), or of what keeps a service's output
    /// (`svlogd`, `multilog`, `s6-log`, `ts`).
    Stamped,
    /// Syslog as RFC 3164 or RFC 5424 have it, and files with its stamp, host and tag: rsyslog's, `journalctl -o short`.
    Syslog,
}

impl Envelope {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Compose,
        Self::Cri,
        Self::DockerJson,
        Self::JournalExport,
        Self::JournalJson,
        Self::JournalPretty,
        Self::JournalVerbose,
        Self::Plain,
        Self::Stamped,
        Self::Syslog,
    ];

    /// The wrapping that at least half of the lines have.
    ///
    /// The lines come without their ends. They may be taken from anywhere in a file, and the first and the last may be
    /// cut.
    pub fn guess(lines: &[&[u8]]) -> Self {
        let lines: Vec<&[u8]> =
            lines.iter().map(|line| without_carriage_return(line)).filter(|line| !line.is_empty()).collect();
        let is_likely = |envelope: &Self| {
            let n_hits = lines.iter().filter(|line| envelope.is_around(line)).count();
            n_hits > 0 && n_hits * 2 >= lines.len()
        };
        match Self::of_several_lines(&lines) {
            Some(envelope) => envelope,
            None => match Self::OF_LINES.into_iter().find(is_likely) {
                Some(envelope) => envelope,
                None if stamp::is_weakly_before(&lines) => Self::Stamped,
                None => Self::Plain,
            },
        }
    }

    /// Those that a line alone tells, the more specific ones first.
    const OF_LINES: [Self; 6] =
        [Self::DockerJson, Self::JournalJson, Self::Cri, Self::Syslog, Self::Compose, Self::Stamped];

    /// The wrapping whose entries take several lines, if it is one of those.
    fn of_several_lines(lines: &[&[u8]]) -> Option<Self> {
        if journal::is_export(lines) {
            Some(Self::JournalExport)
        } else if journal::is_pretty(lines) {
            Some(Self::JournalPretty)
        } else {
            journal::is_verbose(lines).then_some(Self::JournalVerbose)
        }
    }

    /// Whether the line alone tells that it is wrapped so.
    fn is_around(self, line: &[u8]) -> bool {
        match self {
            Self::Compose => compose::entry(line).is_some_and(compose::is_likely),
            Self::Cri => cri::entry(line).is_some(),
            Self::DockerJson => docker::entry(line).is_some(),
            Self::JournalJson => journal::is_object(line),
            Self::Stamped => stamp::behind_strong(line).is_some(),
            Self::Syslog => syslog::entry(line).is_some(),
            Self::JournalExport | Self::JournalPretty | Self::JournalVerbose | Self::Plain => false,
        }
    }
}

/// A line without its wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peeled<'a> {
    /// What [`Unwrapper::push`] was told of the line, or of the first of its parts.
    pub offset: u64,
    /// Who wrote the line, in the wrapping's words: syslog's tag, the container's name; empty if it names nobody.
    pub program: &'a [u8],
    /// The line as its program wrote it.
    pub line: &'a [u8],
}

/// What an [`Unwrapper`] met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnwrapSummary {
    /// How many lines of another form were passed on as they are.
    pub n_foreign: u64,
    /// How many lines were so long that their ends were cut off.
    pub n_cut: u64,
}

/// Takes the wrapping off, line by line.
#[derive(Debug)]
pub struct Unwrapper {
    envelope: Envelope,
    /// What a container's standard output and standard error have begun.
    partials: [Partial; 2],
    export: Export,
    pretty: Pretty,
    verbose: Verbose,
    entries: syslog::Entries,
    scratch: Vec<u8>,
    summary: UnwrapSummary,
}

impl Unwrapper {
    /// An unwrapper of lines that are wrapped in one way.
    pub fn new(envelope: Envelope) -> Self {
        Self {
            envelope,
            partials: [Partial::default(), Partial::default()],
            export: Export::default(),
            pretty: Pretty::default(),
            verbose: Verbose::default(),
            entries: syslog::Entries::default(),
            scratch: Vec::new(),
            summary: UnwrapSummary::default(),
        }
    }

    /// Takes a line of a file, without its line feed but with all else that stands before it, and shows the lines that
    /// are whole by now: none, one, or those of an entry that has several.
    pub fn push(&mut self, offset: u64, line: &[u8], see: &mut dyn FnMut(Peeled<'_>)) {
        let is_known = match self.envelope {
            Envelope::Plain => {
                see(Peeled { offset, program: b"", line });
                true
            }
            Envelope::JournalExport => self.export.push(offset, line, &mut self.summary, see),
            Envelope::JournalPretty => self.push_pretty(offset, line, see),
            Envelope::JournalVerbose => self.verbose.push(offset, line, &mut self.summary, see),
            _ => self.push_entry(offset, without_carriage_return(line), see),
        };
        if !is_known {
            self.summary.n_foreign += 1;
            see(Peeled { offset, program: b"", line });
        }
    }

    /// Shows what was begun and is not going to be ended: the log is over.
    pub fn finish(&mut self, see: &mut dyn FnMut(Peeled<'_>)) {
        for partial in &mut self.partials {
            partial.finish(&mut self.summary, see);
        }
        self.export.finish(&mut self.summary, see);
        self.verbose.finish(&mut self.summary, see);
    }

    /// What was met so far.
    pub fn summary(&self) -> UnwrapSummary {
        self.summary
    }

    fn push_pretty(&mut self, offset: u64, line: &[u8], see: &mut dyn FnMut(Peeled<'_>)) -> bool {
        let Self { pretty, scratch, summary, .. } = self;
        pretty.push(offset, line, summary, &mut |offset, object| {
            journal::object(object, scratch, &mut |program, line| see(Peeled { offset, program, line }))
        })
    }

    /// Whether the line has the form of the envelope.
    fn push_entry(&mut self, offset: u64, line: &[u8], see: &mut dyn FnMut(Peeled<'_>)) -> bool {
        let scratch = &mut self.scratch;
        let (program, text) = match self.envelope {
            Envelope::Cri => {
                let Some(part) = cri::entry(line) else { return false };
                self.partials[part.stream].add(offset, part, &mut self.summary, see);
                return true;
            }
            Envelope::DockerJson => {
                let Some(entry) = docker::entry(line) else { return false };
                let part = entry.part(scratch);
                self.partials[part.stream].add(offset, part, &mut self.summary, see);
                return true;
            }
            Envelope::JournalJson => {
                return journal::object(line, scratch, &mut |program, line| {
                    see(Peeled { offset, program, line });
                });
            }
            Envelope::Syslog => match self.entries.entry(line) {
                Some(entry) => entry,
                None => return false,
            },
            Envelope::Compose => match compose::entry(line) {
                Some((name, text)) => {
                    let line = stamp::of_runtime(text).unwrap_or(text);
                    (name, stamp::joined(text, line, scratch))
                }
                None => return false,
            },
            Envelope::Stamped => match stamp::behind(line, scratch) {
                Some(text) => (b"".as_slice(), text),
                None => return false,
            },
            Envelope::JournalExport
            | Envelope::JournalPretty
            | Envelope::JournalVerbose
            | Envelope::Plain => return false,
        };
        see(Peeled { offset, program, line: text });
        true
    }
}
