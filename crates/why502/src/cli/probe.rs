//! `why502 probe TARGET`.

use super::diagnose::{DEFAULT_SINCE, masked, now};
use super::nearest;
use crate::exit;
use crate::failure::Failure;
use crate::options;
use crate::output::{Color, write_result};
use crate::{render, rounds};
use clap::ValueHint;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use why502_collect::{Collector, Policy};
use why502_decode::load;
use why502_diagnose::{
    NoSuchTarget, ProbeTarget, SpokenProtocol, StepVerdict, TargetQuestion, TargetReport, WantedProtocol,
    report_target, target_asks, target_names,
};
use why502_facts::{Bundle, FORMAT_VERSION, Facts, Invocation, Manifest, ProxyHeader};
use why502_model::Model;

/// The options of `probe`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to dial: host:port, a URL, unix:/path, the name of an upstream group, or a /path or URL that the
    /// configuration serves.
    ///
    /// A target is spoken to as the route of the configuration that leads to it. One that no route leads to is given a
    /// moment to speak first, and then asked in HTTP, through TLS, in FastCGI, in uwsgi and as a memcached who it is.
    #[arg(value_name = "TARGET", value_parser = ProbeTarget::parse, value_hint = ValueHint::Url)]
    target: ProbeTarget,
    /// What to speak, whatever the configuration says.
    #[arg(long, value_name = "PROTOCOL", value_enum)]
    proto: Option<Proto>,
    /// The name to send in the TLS handshake.
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// The host that the request is for.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// How often everything is done; the times are summed up.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// The nginx.conf to use (default: the running master's).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// The nginx prefix for relative paths.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    prefix: Option<PathBuf>,
    /// The nginx binary.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::ExecutablePath)]
    nginx: Option<PathBuf>,
    /// The master process, where several run.
    #[arg(long)]
    pid: Option<u32>,
    /// The bound of the whole run: a peer that stays silent is waited for so long, less a quarter.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = options::parse_duration)]
    timeout: Duration,
    /// The form of the result.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Every conversation step by step, whatever their number.
    #[arg(long)]
    verbose: bool,
    /// When to use colour.
    #[arg(long, value_enum, default_value_t = Color::Auto)]
    color: Color,
    /// Where the result goes (default: stdout).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

/// What can be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Proto {
    /// FastCGI; its own values where the target has no path.
    Fastcgi,
    /// gRPC: one call of its health service, through TLS where the target says so.
    ///
    /// It is a POST, the only request of this program that is no HEAD or GET; the service only reads. What it answers, and
    /// that there is no such service, shows that gRPC is spoken.
    Grpc,
    /// HTTP/2, through TLS where the target says so, else without asking first.
    H2,
    /// HTTP/1.
    Http,
    /// HTTP/1 through TLS.
    Https,
    /// memcached: the value of a key where the target has a path, else its version.
    Memcached,
    /// HTTP/1 behind a header of the PROXY protocol, through TLS where the target says so.
    ProxyProtocol,
    /// The same with the header's binary form.
    ProxyProtocolV2,
    /// SCGI.
    Scgi,
    /// Nothing: the connection alone.
    Tcp,
    /// Nothing but a handshake.
    Tls,
    /// uwsgi.
    Uwsgi,
    /// A change to WebSocket, through TLS where the target says so.
    Websocket,
}

impl Proto {
    fn wanted(self) -> WantedProtocol {
        let (protocol, tls) = match self {
            Self::Fastcgi => (SpokenProtocol::FastCgi, Some(false)),
            Self::Grpc => (SpokenProtocol::Grpc, None),
            Self::H2 => (SpokenProtocol::Http2, None),
            Self::Http => (SpokenProtocol::Http, Some(false)),
            Self::Https => (SpokenProtocol::Http, Some(true)),
            Self::Memcached => (SpokenProtocol::Memcached, Some(false)),
            Self::ProxyProtocol => (SpokenProtocol::ProxyProtocol(ProxyHeader::Text), None),
            Self::ProxyProtocolV2 => (SpokenProtocol::ProxyProtocol(ProxyHeader::Binary), None),
            Self::Scgi => (SpokenProtocol::Scgi, Some(false)),
            Self::Tcp => (SpokenProtocol::Tcp, Some(false)),
            Self::Tls => (SpokenProtocol::Tls, Some(true)),
            Self::Uwsgi => (SpokenProtocol::Uwsgi, None),
            Self::Websocket => (SpokenProtocol::WebSocket, None),
        };
        WantedProtocol { protocol, tls }
    }
}

/// The forms of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs: `why502.probe/1`.
    Json,
}

/// Dials and prints.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let question = question(args)?;
    let report = look(args, &question)?;
    let text = match args.format {
        Format::Json => render::json(&report)?,
        Format::Text => {
            let style = render::ProbeStyle {
                color: args.color.applies(args.output.as_deref()),
                verbose: args.verbose,
            };
            render::probe_text(&report, style)
        }
    };
    write_result(&text, args.output.as_deref())?;
    Ok(ExitCode::from(match report.verdict {
        StepVerdict::Ok => exit::WELL,
        StepVerdict::Unknown => exit::INCONCLUSIVE,
        StepVerdict::Fail => exit::FOUND,
    }))
}

fn question(args: &Args) -> Result<TargetQuestion, Failure> {
    let protocol = args.proto.map(Proto::wanted);
    if args.sni.is_some() && protocol.is_some_and(|wanted| wanted.tls == Some(false)) {
        return Err(Failure::usage("--sni is a name for TLS, which --proto leaves out")
            .hint("TLS is spoken with --proto grpc, h2, https, tls, proxy-protocol, uwsgi and websocket"));
    }
    for (option, value) in [("--sni", &args.sni), ("--host", &args.host)] {
        let is_name = |value: &String| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic());
        if value.as_ref().is_some_and(|value| !is_name(value)) {
            return Err(Failure::usage(format!("{option} is no name that could be sent")));
        }
    }
    Ok(TargetQuestion {
        target: args.target.clone(),
        protocol,
        server_name: args.sni.clone(),
        host: args.host.clone(),
    })
}

/// Finds the target, and dials it as often as is wanted.
fn look(args: &Args, question: &TargetQuestion) -> Result<TargetReport, Failure> {
    let policy = Policy { only_files: None, may_probe: true, reads_logs: false };
    let patience = args.timeout * 3 / 4 / args.repeat;
    let collector = Collector::new(policy, args.timeout).with_probe_timeout(patience);
    let manifest = Manifest {
        format: FORMAT_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        captured_at: now(),
        invocation: invocation(args, question)?,
    };
    let mut bundle = Bundle::new(manifest);
    let names = |facts: &Facts, model: &Model| target_names(facts, model, question).unwrap_or_default();
    let asks = |facts: &Facts, model: &Model| target_asks(facts, model, question);
    rounds::with_progress(&|_| "dialling".to_owned(), || {
        let model = rounds::collect_wanted(&mut bundle, &collector, names);
        check(args, question, &bundle, &model)?;
        let mut runs = Vec::new();
        for _ in 0..args.repeat {
            let mut run = bundle.clone();
            rounds::collect_wanted(&mut run, &collector, asks);
            collector.forget_paces();
            runs.push(load(&run));
        }
        report_target(&runs, &model, question).map_err(|none| no_such(question, none))
    })
}

/// What was named must be there before anything is sent.
fn check(args: &Args, question: &TargetQuestion, bundle: &Bundle, model: &Model) -> Result<(), Failure> {
    if let Some(pid) = args.pid.filter(|pid| !rounds::is_master(model, *pid)) {
        return Err(Failure::no_master(pid, rounds::hides_processes(bundle)));
    }
    if question.target.needs_configuration() && !rounds::has_anything(bundle, model) {
        let what = "whose configuration could have that target";
        return Err(Failure::no_gateway(what, rounds::hides_processes(bundle))
            .hint("name a configuration with --config, or an address as host:port"));
    }
    target_names(&load(bundle), model, question).map_err(|none| no_such(question, none)).map(|_| ())
}

fn no_such(question: &TargetQuestion, none: NoSuchTarget) -> Failure {
    let NoSuchTarget { says, known } = none;
    let typed = question.target.text();
    let meant = nearest(typed, known.iter().map(String::as_str));
    let hint = match (meant.as_slice(), known.as_slice()) {
        ([], []) => "a target is host:port, a URL, unix:/path, an upstream's name or a /path".to_owned(),
        ([], known) => format!("the upstreams here: {}; an address is host:port", known.join(", ")),
        (meant, _) => format!("did you mean {}?", meant.join(" or ")),
    };
    Failure::usage(says).hint(hint)
}

fn invocation(args: &Args, question: &TargetQuestion) -> Result<Invocation, Failure> {
    let existing = |path: &Option<PathBuf>, option| {
        path.as_deref().map(|path| options::existing(path, option)).transpose()
    };
    Ok(Invocation {
        url: question.target.served_url().map(masked),
        config: args.config.as_deref().map(|path| options::existing_file(path, "--config")).transpose()?,
        prefix: existing(&args.prefix, "--prefix")?,
        binary: args.nginx.as_deref().map(|path| options::existing_file(path, "--nginx")).transpose()?,
        pid: args.pid,
        error_logs: Vec::new(),
        access_logs: Vec::new(),
        log_format: None,
        since: Some(DEFAULT_SINCE),
        until: None,
        around: None,
        offline: false,
        no_probe: false,
        replay: false,
        timeout: args.timeout,
    })
}
