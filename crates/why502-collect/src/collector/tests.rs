use super::*;
use why502_facts::{AccessWriting, LogClock, LogClockSource, LogKind, ProbeStep};

fn everything() -> Policy {
    Policy { only_files: None, may_probe: true, reads_logs: true }
}

fn no_route() -> Arc<RouteOfOwner> {
    Arc::new(|_: &str, _: &RequestKey<'_>| None)
}

fn why(fact: &Fact) -> Option<GapReason> {
    match &fact.answer {
        Answer::Unknown { why, .. } => Some(*why),
        Answer::Absent | Answer::Known(_) => None,
    }
}

#[test]
fn a_pipe_holds_nobody_up() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("error.log");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    let path = pipe.display().to_string();
    let begin = Instant::now();
    let collector = Collector::new(everything(), Duration::from_secs(5));
    let facts = collector.answer(&[Ask::File { root: Root::Host, path }, Ask::Host], &no_route());
    assert_eq!((why(&facts[0]), why(&facts[1])), (Some(GapReason::Unsupported), None));
    assert!(begin.elapsed() < Duration::from_secs(4));
}

#[test]
fn once_the_time_is_up_everything_is_a_gap() {
    let collector = Collector::new(everything(), Duration::ZERO);
    let target = PeerAddress::Unix("/nowhere.sock".to_owned());
    let probe =
        Ask::Probe { security: Security::Own, target, spec: Box::new(ProbeSpec::Connect), source: None };
    let facts = collector.answer(&[Ask::Host, probe, Ask::Processes], &no_route());
    assert_eq!(facts.iter().map(why).collect::<Vec<_>>(), vec![Some(GapReason::TimedOut); 3]);
}

#[test]
fn what_hangs_is_left_behind() {
    let collector = Collector::new(everything(), Duration::from_millis(300));
    let stuck: Arc<RouteOfOwner> = Arc::new(|_: &str, _: &RequestKey<'_>| {
        thread::sleep(Duration::from_mins(1));
        None
    });
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    let line = "127.0.0.1 - - [21/Nov/2026:02:28:30 +0000] \"GET / HTTP/1.1\" 502 1 \"-\" \"-\"\n";
    std::fs::write(&path, line).unwrap();
    let slice = why502_facts::LogSlice {
        root: Root::Host,
        path: path.display().to_string(),
        owner: String::new(),
        kind: LogKind::Access { format: None, writing: AccessWriting::default() },
        from: None,
        to: None,
        clock: LogClock { offset_seconds: 0, source: LogClockSource::Assumed },
        max_bytes: None,
    };
    let begin = Instant::now();
    let facts = collector.answer(&[Ask::Log(slice), Ask::Host], &stuck);
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert_eq!(facts.iter().map(why).collect::<Vec<_>>(), vec![Some(GapReason::TimedOut); 2]);
}

#[test]
fn a_peer_that_reacts_soon_is_not_waited_for_long_again() {
    let collector = Collector::new(everything(), Duration::from_secs(10));
    let target: PeerAddress = "127.0.0.1:3000".parse().unwrap();
    let ask =
        Ask::Probe { security: Security::Own, target, spec: Box::new(ProbeSpec::Connect), source: None };
    let answered = |outcome, millis: u64| {
        let step = ProbeStep { kind: StepKind::Receive, micros: millis * 1000, outcome };
        Answer::known(FactBody::Probe(Transcript { steps: vec![step], ..Transcript::default() }))
    };
    collector.learn(&ask, &answered(ProbeOutcome::TimedOut, 3000));
    assert_eq!(collector.patience(&ask), PROBE_TIMEOUT);
    collector.learn(&ask, &answered(ProbeOutcome::Closed, 5));
    assert_eq!(collector.patience(&ask), FURTHER_PROBE_TIMEOUT);
    collector.learn(&ask, &answered(ProbeOutcome::Done, 100));
    assert_eq!(collector.patience(&ask), Duration::from_secs(1));
    collector.learn(&ask, &answered(ProbeOutcome::Done, 2000));
    assert_eq!(collector.patience(&ask), PROBE_TIMEOUT);
}
