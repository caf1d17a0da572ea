//! `zapp serve`: answers HTTP from images.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use server::{
    AccessFormat, Address, Ceilings, HostingOptions, HttpOptions, Level, LogFormat, LogOptions,
    Options, Size, SnapshotLevel, Span, Trusted, User,
};
use worker::RequestLimits;

use crate::status::Status;

/// Serves images over HTTP
///
/// Files come straight from the image. Everything else is answered by the image's program (PHP), by a fresh confined
/// instance for each request. Limits given here are ceilings: an image's manifest may ask for less, never for more.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Images to serve; several need host names, here or in their manifests
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Listen here: 127.0.0.1:8080, :8080 or unix:/path; may be repeated
    #[arg(
        short,
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:8080",
        env = "ZAPP_LISTEN"
    )]
    listen: Vec<Address>,
    /// Serve an image under a host name; may be repeated
    #[arg(long, value_name = "NAME=IMAGE", value_parser = host)]
    host: Vec<(String, PathBuf)>,
    /// Health, readiness and metrics on this address: /-/healthy, /-/ready, /-/sites, /metrics
    #[arg(long, value_name = "ADDR", env = "ZAPP_ADMIN")]
    admin: Option<Address>,
    /// Instances at once, for each image [default: four for each core]
    #[arg(short = 'n', long, value_name = "N", env = "ZAPP_CONCURRENCY")]
    concurrency: Option<u32>,
    /// Requests that may wait for an instance [default: four for each instance]
    #[arg(long, value_name = "N", env = "ZAPP_QUEUE")]
    queue: Option<usize>,
    /// How long they may wait before they are answered 503
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5s",
        env = "ZAPP_QUEUE_TIMEOUT"
    )]
    queue_timeout: Span,
    /// Elapsed time of a request; 504 beyond it
    #[arg(long, value_name = "TIME", default_value_t = Ceilings::WALL, env = "ZAPP_TIMEOUT")]
    timeout: Span,
    /// CPU time of a request; 504 beyond it
    #[arg(long, value_name = "TIME", default_value_t = Ceilings::CPU, env = "ZAPP_CPU")]
    cpu: Span,
    /// Memory of an instance
    #[arg(long, value_name = "SIZE", default_value_t = Ceilings::MEMORY, env = "ZAPP_MEMORY")]
    memory: Size,
    /// Memory of an image's process, which is ended beyond it [default: what its instances and the image come to]
    #[arg(long, value_name = "SIZE", env = "ZAPP_WORKER_MEMORY")]
    worker_memory: Option<Size>,
    /// Bytes of an answer; 500 beyond it
    #[arg(
        long,
        value_name = "SIZE",
        default_value_t = Ceilings::OUTPUT,
        env = "ZAPP_OUTPUT_SIZE"
    )]
    output_size: Size,
    /// Bytes of a request's body; 413 beyond it
    #[arg(
        long,
        value_name = "SIZE",
        default_value_t = Ceilings::BODY,
        env = "ZAPP_BODY_SIZE"
    )]
    body_size: Size,
    /// Bytes of a request's head; 431 beyond it
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "64K",
        env = "ZAPP_HEADER_SIZE"
    )]
    header_size: Size,
    /// Scratch files and changed files of an instance, gone with it
    #[arg(
        long,
        value_name = "SIZE",
        default_value_t = Ceilings::SCRATCH,
        env = "ZAPP_TMP_SIZE"
    )]
    tmp_size: Size,
    /// Open files of an instance
    #[arg(long, value_name = "N", default_value_t = Ceilings::FILES, env = "ZAPP_OPEN_FILES")]
    open_files: u32,
    /// Connections at once; more wait to be accepted
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1024,
        env = "ZAPP_CONNECTIONS"
    )]
    connections: u32,
    /// Bytes of request bodies and answers in memory, for all requests together; 503 beyond it
    #[arg(long, value_name = "SIZE", default_value = "1G", env = "ZAPP_BUFFERS")]
    buffers: Size,
    /// Time for a request's head, and the longest idle time between requests
    #[arg(
        long,
        value_name = "TIME",
        default_value = "15s",
        env = "ZAPP_HEADER_TIMEOUT"
    )]
    header_timeout: Span,
    /// Time for a request's body; 408 beyond it
    #[arg(
        long,
        value_name = "TIME",
        default_value = "60s",
        env = "ZAPP_BODY_TIMEOUT"
    )]
    body_timeout: Span,
    /// How long a client may take nothing of its response
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        env = "ZAPP_WRITE_TIMEOUT"
    )]
    write_timeout: Span,
    /// Time for running requests after SIGTERM or SIGINT
    #[arg(long, value_name = "TIME", default_value = "30s", env = "ZAPP_GRACE")]
    grace: Span,
    /// How often images are looked at; one that was replaced by a rename is swapped without losing a request
    #[arg(long, value_name = "TIME", default_value = "1s", env = "ZAPP_WATCH")]
    watch: Span,
    /// Never look at the images again
    #[arg(long, conflicts_with = "watch")]
    no_watch: bool,
    /// Use images where they lie instead of a sealed copy; only root or you may be able to write them
    #[arg(long)]
    trust_file: bool,
    /// How far the program has come in the snapshot that every request starts from [default: as the manifest says]
    #[arg(long, value_enum, value_name = "LEVEL", env = "ZAPP_SNAPSHOT")]
    snapshot: Option<SnapshotLevel>,
    /// Believe X-Forwarded-For and X-Forwarded-Proto of this proxy: an address, a network, or unix for local sockets; may
    /// be repeated
    #[arg(
        long,
        value_name = "CIDR",
        value_delimiter = ',',
        env = "ZAPP_TRUSTED_PROXY"
    )]
    trusted_proxy: Vec<Trusted>,
    /// Access log to a file, or to standard output for -
    #[arg(long, value_name = "FILE", env = "ZAPP_ACCESS_LOG")]
    access_log: Option<PathBuf>,
    /// Form of the access log
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    access_log_format: AccessFormat,
    /// Form of all other messages
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "FORM",
        env = "ZAPP_LOG_FORMAT"
    )]
    log_format: LogFormat,
    /// Only warnings and errors
    #[arg(short, long)]
    quiet: bool,
    /// Add Server-Timing and X-Zapp-Report (what the request cost) to responses; not for strangers
    #[arg(long)]
    server_timing: bool,
    /// Have this user's rights alone, once the ports are taken and the log is open: USER or USER:GROUP, names or numbers
    #[arg(long, value_name = "USER", env = "ZAPP_USER")]
    user: Option<User>,
    /// Check images and manifests, and exit
    #[arg(long)]
    check: bool,
}

fn host(text: &str) -> Result<(String, PathBuf), String> {
    let (name, image) = text.split_once('=').ok_or("write NAME=IMAGE")?;
    Ok((name.to_owned(), image.into()))
}

/// Serves until a signal says stop.
pub(crate) fn run(args: &Args) -> anyhow::Result<Status> {
    let options = options(args)?;
    if args.check {
        server::check(&options)?;
    } else {
        server::run(options)?;
    }
    Ok(Status::Done)
}

/// The arguments as if typed.
pub(crate) fn typed(line: impl IntoIterator<Item = OsString>) -> Result<Args, clap::Error> {
    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }
    let line = std::iter::once("serve".into()).chain(line);
    <Line as clap::Parser>::try_parse_from(line).map(|line| line.args)
}

fn options(args: &Args) -> anyhow::Result<Options> {
    let concurrency = match args.concurrency {
        Some(concurrency) => concurrency.max(1),
        None => 4 * u32::try_from(std::thread::available_parallelism().map_or(1, usize::from))?,
    };
    Ok(Options {
        images: args.images.clone(),
        hosts: args.host.clone(),
        listen: args.listen.clone(),
        admin: args.admin.clone(),
        hosting: HostingOptions {
            ceilings: Ceilings {
                limits: RequestLimits {
                    wall_ms: args.timeout.as_millis(),
                    cpu_ms: args.cpu.as_millis(),
                    memory_bytes: args.memory.0,
                    output_bytes: args.output_size.0,
                    body_bytes: args.body_size.0,
                    scratch_bytes: args.tmp_size.0,
                    files: args.open_files,
                },
                snapshot: args.snapshot,
            },
            concurrency,
            worker_memory_bytes: args.worker_memory.map(|size| size.0),
            queue: args.queue.unwrap_or(usize::try_from(concurrency)? * 4),
            queue_timeout: args.queue_timeout.0,
            trust_file: args.trust_file,
        },
        http: HttpOptions {
            header_bytes: usize::try_from(args.header_size.0).context("--header-size")?,
            header_timeout: args.header_timeout.0,
            body_timeout: args.body_timeout.0,
            write_timeout: args.write_timeout.0,
            connections: usize::try_from(args.connections)?,
            buffer_bytes: args.buffers.0,
            server_timing: args.server_timing,
            trusted: args.trusted_proxy.clone(),
        },
        log: LogOptions {
            format: args.log_format,
            level: if args.quiet { Level::Warn } else { Level::Info },
            access: args.access_log.clone(),
            access_format: args.access_log_format,
        },
        grace: args.grace.0,
        watch: (!args.no_watch).then_some(args.watch.0.max(Duration::from_millis(10))),
        user: args.user,
    })
}
