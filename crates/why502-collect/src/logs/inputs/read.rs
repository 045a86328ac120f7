//! A set's lines, one after the other.

use super::{LogFile, LogSet, Origin};
use crate::logs::engine::LogPart;
use crate::logs::lines::{LineReader, Step};
use crate::logs::packing::Packing;
use crate::root::RootDir;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};
use why502_decode::logs::{LogSide, Peeled, Unwrapper};
use why502_facts::Root;

/// Sees a line: its file, where it begins there, and itself, without its wrapping and its end.
type See<'a> = dyn FnMut(&Arc<str>, u64, &[u8]) -> ControlFlow<()> + 'a;

/// What was read of a set.
#[derive(Debug, Default)]
pub struct ReadSummary {
    /// How many lines were shown.
    pub n_lines: u64,
    /// How many bytes there are in its files, unpacked.
    pub n_bytes: u64,
    /// How many lines had another form than the wrapping of the others; they were shown as they are.
    pub n_foreign: u64,
    /// How many lines were longer than a mebibyte, and cut off there.
    pub n_cut: u64,
    /// How many lines were another program's, and not shown.
    pub n_of_others: u64,
    /// The archives that end before their end; what they hold was read.
    pub cut_archives: Vec<Arc<str>>,
    /// The files that could not be read to their ends, and why.
    pub failures: Vec<(Arc<str>, io::Error)>,
    /// Whether all was read, not only as much as was wanted.
    pub is_whole: bool,
}

impl LogSet {
    /// Shows every line, oldest file first, with its file, where it begins in that file's unpacked content, and without
    /// its wrapping and its line feed.
    ///
    /// A file that cannot be read to its end is told of in the summary and the next one is read; if there is no other, that
    /// is an error. Standard input can be read once.
    pub fn read(&self, see: &mut See<'_>) -> io::Result<ReadSummary> {
        let mut passage = Passage {
            see,
            programs: self.programs.as_ref(),
            files: Vec::new(),
            is_stopped: false,
            summary: ReadSummary::default(),
        };
        let mut unwrapper = Unwrapper::new(self.envelope);
        match &self.origin {
            Origin::Files(files) => self.read_files(files, &mut passage, &mut unwrapper)?,
            Origin::Journal(_) | Origin::Stream(_) => {
                let name: Arc<str> = self.name.as_str().into();
                let read = passage.read(&mut unwrapper, Arc::clone(&name), self.only_part()?);
                if let Err(error) = read {
                    if passage.summary.n_lines == 0 {
                        return Err(error);
                    }
                    passage.summary.failures.push((name, error));
                }
            }
        }
        unwrapper.finish(&mut |peeled| passage.show(peeled));
        let met = unwrapper.summary();
        let mut summary = passage.summary;
        summary.n_foreign = met.n_foreign;
        summary.n_cut += met.n_cut;
        summary.is_whole =
            !passage.is_stopped && summary.failures.is_empty() && summary.cut_archives.is_empty();
        Ok(summary)
    }

    /// Its files, oldest first, each opened when it is its turn; what cannot be opened fails when it is read. Standard input
    /// can be had once.
    pub(crate) fn parts(&self) -> Box<dyn Iterator<Item = LogPart> + Send + '_> {
        let Origin::Files(files) = &self.origin else {
            let content = self.only_part().unwrap_or_else(|error| Box::new(Unopened(Some(error))));
            return Box::new(std::iter::once((Arc::from(self.name.as_str()), content)));
        };
        Box::new(files.iter().map(|file| {
            let opened = RootDir::open(Root::Host)
                .map_err(io::Error::from)
                .and_then(|root| file.reopen(&root))
                .and_then(|opened| file.packing.unpack(opened, Arc::clone(&self.n_read)));
            let content = opened.unwrap_or_else(|error| Box::new(Unopened(Some(error))));
            (Arc::clone(&file.path), content)
        }))
    }

    /// What is in no file: the journal's entries, or standard input, once.
    fn only_part(&self) -> io::Result<Box<dyn Read + Send>> {
        match &self.origin {
            Origin::Journal(journal) => Packing::Plain.unpack(journal.entries()?, Arc::clone(&self.n_read)),
            Origin::Stream(stream) => {
                let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
                stream.ok_or_else(|| io::Error::other("standard input was read already"))
            }
            Origin::Files(_) => Ok(Box::new(io::empty())),
        }
    }

    fn read_files(
        &self,
        files: &[LogFile],
        passage: &mut Passage<'_, '_>,
        unwrapper: &mut Unwrapper,
    ) -> io::Result<()> {
        let root = RootDir::open(Root::Host)?;
        for file in files {
            let read = file
                .reopen(&root)
                .and_then(|opened| file.packing.unpack(opened, Arc::clone(&self.n_read)))
                .and_then(|content| passage.read(unwrapper, Arc::clone(&file.path), content));
            if let Err(error) = read {
                if files.len() == 1 {
                    return Err(error);
                }
                passage.summary.failures.push((Arc::clone(&file.path), error));
            }
            if passage.is_stopped {
                break;
            }
        }
        Ok(())
    }
}

/// A file that cannot be opened.
struct Unopened(Option<io::Error>);

impl Read for Unopened {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// The way of lines from files to whoever wants them.
struct Passage<'a, 'b> {
    see: &'a mut See<'b>,
    programs: Option<&'a BTreeSet<Vec<u8>>>,
    /// The files so far, and where each begins in all that was read: an entry may have begun in an older one.
    files: Vec<(u64, Arc<str>)>,
    is_stopped: bool,
    summary: ReadSummary,
}

impl Passage<'_, '_> {
    fn read(
        &mut self,
        unwrapper: &mut Unwrapper,
        path: Arc<str>,
        content: Box<dyn Read + Send>,
    ) -> io::Result<()> {
        let begin = self.summary.n_bytes;
        self.files.push((begin, Arc::clone(&path)));
        let mut reader = LineReader::new(content, begin);
        let stepped = loop {
            let step = reader.step(|offset, line| {
                unwrapper.push(offset, line, &mut |peeled| self.show(peeled));
                if self.is_stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            match step {
                Ok(Step::Again) => {}
                Ok(Step::End | Step::Stopped) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.summary.n_bytes = reader.end();
        self.summary.n_cut += reader.n_cut();
        if reader.is_archive_cut() {
            self.summary.cut_archives.push(path);
        }
        stepped
    }

    fn show(&mut self, peeled: Peeled<'_>) {
        if self.is_stopped {
            return;
        }
        let is_ours = |programs: &BTreeSet<Vec<u8>>| {
            peeled.program.is_empty()
                || programs.contains(peeled.program)
                || LogSide::of(peeled.line) == LogSide::Error
        };
        if !self.programs.is_none_or(is_ours) {
            self.summary.n_of_others += 1;
            return;
        }
        let Some((begin, path)) = self.files.iter().rev().find(|(begin, _)| *begin <= peeled.offset) else {
            return;
        };
        self.summary.n_lines += 1;
        self.is_stopped = (self.see)(path, peeled.offset - begin, peeled.line).is_break();
    }
}
